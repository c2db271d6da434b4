import { execFile, spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'

// What operators type into the AWS command line was never run by a test, so at least the commands, their options and the
// fields that they pick from answers have to be there.
const run = promisify(execFile)
const root = path.join(import.meta.dirname, '../..')
const VERSION = '1.43.62'
const home = path.join(root, '.cache', `botocore-${VERSION}`)
const DOCUMENTS = ['docs/runbook.md', 'docs/deploy.md', 'docs/cost.md', 'infra/README.md']
const read = (file: string): string => readFileSync(path.join(root, file), 'utf8')

describe('a command of the AWS command line', () => {
  test('in a document is one, with its options and the fields of its answer', async (context) => {
    const missing = await install()
    if (missing !== undefined) context.skip(missing)
    const lines = await check(Object.fromEntries(DOCUMENTS.map((file) => [file, read(file)])))
    expect(lines.slice(0, -1)).toEqual([])
    expect(Number(lines.at(-1))).toBeGreaterThan(30)
  }, 120_000)

  test.for([
    ['aws rds describe-db-instance', 'no such command'],
    ['aws elasticqueue list', 'no such service'],
    ['aws sqs get-queue-url --name x', '--name: no option'],
    ['aws sqs get-queue-url --query QueueUrl', '--queue-name is missing'],
    ['aws rds wait db-instance-ready --db-instance-identifier x', 'no such waiter'],
    ['aws logs tail x --last 1h', '--last: no option'],
    ["aws rds describe-db-instances --query 'DBInstances[0].Endpoint.Host'", 'finds nothing'],
    ['for x in a; do aws sqs purge-queue --queue "$(aws sqs list-queues)"; done', '--queue: no option'],
  ])('like `%s` would be found', async ([command, problem], context) => {
    if (!existsSync(path.join(home, 'done'))) context.skip('botocore is not here (see above)')
    const [first] = await check({ document: `\`\`\`sh account\n${command}\n\`\`\`\n` })
    expect(first).toContain(problem)
  })
})

describe('the CDK command line', () => {
  const named = [...DOCUMENTS, 'README.md', 'CONTRIBUTING.md'].flatMap((file) =>
    [...read(file).matchAll(/npx\s+(?:--yes\s+)?([a-z@/-]+)@([\d.]+)/g)].map(
      ([, name, version]) => `${name} ${version}`,
    ),
  )

  test('is the same package in one version, wherever it is named', () => {
    expect(named.length).toBeGreaterThan(2)
    expect(new Set(named)).toEqual(new Set(['aws-cdk 2.1148.1']))
  })

  test('exists', async (context) => {
    const [name = '', version = ''] = named[0]?.split(' ') ?? []
    const argv = ['view', `${name}@${version}`, 'version', '--fetch-retries=0']
    const outcome: { code?: number | string; stdout: string; stderr: string } = await run('npm', argv, {
      timeout: 20_000,
    }).catch((error) => error)
    if (outcome.code !== undefined && !/E404/.test(outcome.stderr))
      context.skip('the registry of npm cannot be reached here')
    expect(outcome.stdout.trim()).toBe(version)
  }, 30_000)
})

async function check(documents: Readonly<Record<string, string>>): Promise<string[]> {
  const script = path.join(import.meta.dirname, 'check-aws-commands.py')
  const child = spawn(path.join(home, 'bin/python'), [script], { stdio: ['pipe', 'pipe', 'inherit'] })
  child.stdin.end(JSON.stringify(documents))
  return (await text(child.stdout)).trim().split('\n')
}

/** From PyPI into the cache of the checkout, once. @returns why it cannot be had, or undefined when it is there. */
async function install(): Promise<string | undefined> {
  if (existsSync(path.join(home, 'done'))) return undefined
  try {
    await rm(home, { recursive: true, force: true })
    await mkdir(path.dirname(home), { recursive: true })
    await run('python3', ['-m', 'venv', home])
    const pip = ['install', '--quiet', '--retries', '0', `botocore==${VERSION}`]
    await run(path.join(home, 'bin/pip'), pip, { timeout: 60_000 })
    await mkdir(path.join(home, 'done'))
    return undefined
  } catch (error) {
    const [line = ''] = String(error instanceof Error ? error.message : error).split('\n')
    return `botocore ${VERSION} cannot be installed from PyPI here (${line.replaceAll(root, '.')})`
  }
}
