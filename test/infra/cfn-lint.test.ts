import { execFile } from 'node:child_process'
import { existsSync, globSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { root } from './synthesized.ts'

const run = promisify(execFile)
const VERSION = '1.58.0'
const home = path.join(root, '.cache', `cfn-lint-${VERSION}`)

test('cfn-lint has nothing to say about the templates under review', async (context) => {
  const missing = await install()
  if (missing !== undefined) context.skip(missing)
  const templates = globSync('test/infra/golden/*.json', { cwd: root }).map((file) => path.join(root, file))
  const argv = ['--ignore-checks', ...Object.keys(IGNORED), '--', ...templates]
  const outcome = await run(path.join(home, 'bin/cfn-lint'), argv).catch((error: { stdout: string }) => error)
  expect(outcome.stdout).toBe('')
}, 120_000)

/** Each with why it does not apply. */
const IGNORED = {
  W3005: 'CDK writes the dependencies of a construct in full, also where a reference implies them',
  W3010: 'the zones are a parameter: looking them up would need an account',
  W6001: 'the host to sign is shown once more where routes are deployed',
}

/** From PyPI into the cache of the checkout, once. @returns why it cannot be had, or undefined when it is there. */
async function install(): Promise<string | undefined> {
  if (existsSync(path.join(home, 'bin/cfn-lint'))) return undefined
  try {
    await mkdir(path.dirname(home), { recursive: true })
    await run('python3', ['-m', 'venv', home])
    await run(path.join(home, 'bin/pip'), ['install', '--quiet', '--retries', '0', `cfn-lint==${VERSION}`], {
      timeout: 90_000,
    })
    return undefined
  } catch (error) {
    const [line = ''] = String(error instanceof Error ? error.message : error).split('\n')
    return `cfn-lint ${VERSION} cannot be installed from PyPI here (${line.replaceAll(root, '.')})`
  }
}
