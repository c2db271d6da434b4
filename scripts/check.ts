import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import path from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'

// `npm run check [-- --fix]`: everything that can be said about the source without running the product.
// One line for each step; the output of a step only when it fails. All steps run, whatever fails.
const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))

type Step = { readonly name: string; readonly argv: readonly string[]; readonly repair?: string }

async function main(argv: readonly string[]): Promise<number> {
  const unknown = argv.filter((argument) => argument !== '--fix')
  if (unknown.length > 0) {
    console.error(`check: unknown argument ${JSON.stringify(unknown[0])}; the only one is --fix`)
    return 2
  }
  const waiting = steps(argv.includes('--fix'))
  const failed: string[] = []
  const worker = async (): Promise<void> => {
    for (let step = waiting.shift(); step !== undefined; step = waiting.shift()) {
      if (!(await carryOut(step))) failed.push(step.name)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
  console.log(failed.length === 0 ? 'check: clean' : `check: FAILED: ${failed.join(', ')}`)
  return failed.length === 0 ? 0 : 1
}

/** Most machines that run this have two cores. */
const AT_ONCE = 2

function steps(fix: boolean): Step[] {
  const repairFormat = 'npm run check -- --fix'
  const all: Step[] = [
    { name: 'types', argv: [bin('typescript/bin/tsc'), '--noEmit', '-p', '.'] },
    fix
      ? {
          name: 'format and lint',
          argv: [bin('@biomejs/biome/bin/biome'), 'check', '--write', '--colors=off', '.'],
        }
      : {
          name: 'format and lint',
          argv: [bin('@biomejs/biome/bin/biome'), 'ci', '--colors=off', '.'],
          repair: repairFormat,
        },
    { name: 'imports', argv: ['scripts/imports.ts'] },
    { name: 'dead code', argv: [bin('knip/bin/knip.js'), '--no-config-hints', '--no-progress'] },
    { name: 'tracked files', argv: ['scripts/tracked-files.ts'] },
  ]
  for (const generator of GENERATORS) {
    if (!existsSync(path.join(root, generator.script))) continue
    const { name, script, repair } = generator
    all.push({ name, argv: [script, '--check'], repair })
  }
  return all
}

/** Each can verify, with `--check`, that what it wrote last is what it would write now. */
const GENERATORS = [
  { name: 'generated schema', script: 'scripts/schema.ts', repair: 'npm run schema' },
  { name: 'generated docs', script: 'scripts/docs.ts', repair: 'npm run docs' },
]

async function carryOut(step: Step): Promise<boolean> {
  const started = performance.now()
  const { code, output } = await run(step.argv)
  const seconds = ((performance.now() - started) / 1000).toFixed(1)
  console.log(`${step.name.padEnd(18)} ${seconds.padStart(5)} s  ${code === 0 ? 'ok' : 'FAILED'}`)
  if (code === 0) return true
  process.stdout.write(output.endsWith('\n') ? output : `${output}\n`)
  if (step.repair !== undefined) console.log(`repair with: ${step.repair}`)
  return false
}

function run(argv: readonly string[]): Promise<{ code: number; output: string }> {
  const child = spawn(process.execPath, argv, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
  const chunks: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => chunks.push(chunk))
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve({ code: code ?? 1, output: Buffer.concat(chunks).toString() }))
  })
}

function bin(file: string): string {
  return path.join(root, 'node_modules', file)
}

process.exitCode = await main(process.argv.slice(2))
