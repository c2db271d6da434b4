import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import * as z from 'zod'
import { buildAll } from '../scripts/build.ts'
import type { Measured } from './measured.ts'

const KB_MAX = 400
const IMPORT_MS_MAX = 60

/**
 * P11: what a new instance of each function pays before its handler runs: reading, compiling and executing its bundle in
 * a fresh Node, apart from the SDK that it uses. Best of several, because everything that disturbs makes it longer.
 */
export async function measureColdStarts(times = 5): Promise<Measured> {
  const root = join(import.meta.dirname, '..')
  await mkdir(join(root, 'dist'), { recursive: true })
  // Below the checkout, so that the SDK is found, which Lambda brings.
  const out = await mkdtemp(join(root, 'dist', 'cold-start-'))
  try {
    const bundles = await buildAll(root, out, 'function')
    const rows: Row[] = []
    for (const { name, file, bytes, imports } of bundles) {
      const sdk = imports.filter((one) => one.startsWith('@aws-sdk/'))
      const measured = await best(times, () => importMs(file, sdk))
      rows.push({
        function: name.replace('functions/', ''),
        KB: Math.round(bytes / 100) / 10,
        'import ms': rounded(measured.own),
        'SDK ms': rounded(measured.sdk),
        SDK: sdk.map((one) => one.slice('@aws-sdk/'.length)).join(' '),
      })
    }
    const tooBig = rows.filter(({ KB }) => KB > KB_MAX)
    const tooSlow = rows.filter((row) => row['import ms'] > IMPORT_MS_MAX)
    const names = (those: readonly Row[]): string => those.map((row) => row.function).join(', ') || 'none'
    return {
      settings: { times },
      rows,
      verdict: `P11: at most ${KB_MAX} KB and ${IMPORT_MS_MAX} ms each; too big: ${names(tooBig)}; too slow: ${names(tooSlow)}`,
    }
  } finally {
    await rm(out, { recursive: true, force: true })
  }
}

type Row = { function: string; KB: number; 'import ms': number; 'SDK ms': number; SDK: string }
type Import = { readonly own: number; readonly sdk: number }

async function best(times: number, measure: () => Promise<Import>): Promise<Import> {
  let least: Import = { own: Number.POSITIVE_INFINITY, sdk: Number.POSITIVE_INFINITY }
  for (let time = 0; time < times; time++) {
    const { own, sdk } = await measure()
    least = { own: Math.min(least.own, own), sdk: Math.min(least.sdk, sdk) }
  }
  return least
}

function rounded(ms: number): number {
  return Math.round(ms * 10) / 10
}

const answer = z.object({ own: z.number().positive(), sdk: z.number().nonnegative() })

async function importMs(file: string, sdk: readonly string[]): Promise<Import> {
  // Lambda brings the SDK, so it is loaded first and counted for itself. A bundle ends its import by refusing the empty
  // environment; what came before is what is measured.
  const program = `
    import { createRequire } from 'node:module'
    import { pathToFileURL } from 'node:url'
    const [file, ...sdk] = process.argv.slice(1)
    const from = createRequire(file)
    const begun = performance.now()
    for (const name of sdk) await import(pathToFileURL(from.resolve(name)))
    const between = performance.now()
    await import(pathToFileURL(file)).catch((error) => {
      if (!String(error.message).startsWith('configuration:')) throw error
    })
    console.log(JSON.stringify({ sdk: between - begun, own: performance.now() - between }))`
  const argv = ['--input-type=module', '--eval', program, file, ...sdk]
  const { stdout } = await promisify(execFile)(process.execPath, argv, { env: {} })
  return answer.parse(JSON.parse(stdout))
}

if (import.meta.main) {
  const { rows, verdict } = await measureColdStarts()
  console.table(rows)
  console.log(verdict)
}
