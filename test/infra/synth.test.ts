import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { root } from './synthesized.ts'

const run = promisify(execFile)

test.each([
  [{ backupDays: '0' }, 'context backupDays is "0"; expected a whole number from 1 to 35'],
  [{ databaseMultiAZ: 'false' }, 'context databaseMultiAZ: no such parameter; infra/README.md lists them'],
  [
    { builderCaFile: '/nowhere.pem', builderNames: 'b' },
    'context builderCaFile: /nowhere.pem cannot be read',
  ],
])(
  '%j stops what the CDK command line runs, with one line and nothing written',
  async (context, says) => {
    const outcome: { code?: number; stdout: string; stderr: string } = await run(
      process.execPath,
      [join(root, 'infra/app.ts')],
      { cwd: root, env: { CDK_CONTEXT_JSON: JSON.stringify(context), CDK_OUTDIR: '/nonexistent/cdk.out' } },
    ).catch((error) => error)
    expect([outcome.code, outcome.stdout, outcome.stderr]).toEqual([1, '', `synth: ${says}\n`])
  },
  120_000,
)
