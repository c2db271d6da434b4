import { spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import process from 'node:process'
import { parseArgs } from 'node:util'
import { buildAll } from './build.ts'
import { writeGolden } from './golden-templates.ts'

// `npm run synth [-- -c NAME=VALUE ...] [-- --out DIRECTORY] [-- --update]`: the CloudFormation templates below `cdk.out`,
// without an account. The CDK command line runs this file as well and says by environment where and with which context.
// `--update` writes the templates under review (test/infra/golden) instead.
const root = path.dirname(import.meta.dirname)

async function main(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      context: { type: 'string', short: 'c', multiple: true, default: [] },
      out: { type: 'string', default: path.join(root, 'cdk.out') },
      update: { type: 'boolean', default: false },
    },
  })
  if (values.update) {
    for (const file of await writeGolden(root)) console.log(`synth: wrote ${path.relative(root, file)}`)
    return 0
  }
  const bundles = path.join(root, 'dist')
  await buildAll(root, bundles)
  const out = process.env['CDK_OUTDIR'] ?? path.resolve(values.out)
  const context = process.env['CDK_CONTEXT_JSON'] ?? JSON.stringify(await contextOf(values.context))
  const code = await run({ CF_BUNDLES: bundles, CDK_OUTDIR: out, CDK_CONTEXT_JSON: context })
  if (code === 0 && process.env['CDK_OUTDIR'] === undefined) console.log(`synth: templates in ${out}`)
  return code
}

/** The context of `cdk.json` with what the command line changes in it. */
async function contextOf(pairs: readonly string[]): Promise<Record<string, unknown>> {
  const { context } = JSON.parse(await readFile(path.join(root, 'cdk.json'), 'utf8'))
  const given = pairs.map((pair) => {
    const equals = pair.indexOf('=')
    if (equals < 1) throw new RangeError(`-c ${pair} is not NAME=VALUE`)
    return [pair.slice(0, equals), pair.slice(equals + 1)] as const
  })
  const unknown = given.find(([name]) => !(name in context))
  if (unknown !== undefined)
    throw new RangeError(`-c ${unknown[0]}: no such parameter; infra/README.md lists them`)
  return { ...context, ...Object.fromEntries(given) }
}

function run(environment: Readonly<Record<string, string>>): Promise<number> {
  const child = spawn(process.execPath, [path.join(root, 'infra/app.ts')], {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, ...environment },
  })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve(code ?? 1))
  })
}

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  console.error(`synth: ${error instanceof Error ? error.message : error}`)
  process.exitCode = 1
}
