import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findStore, storeArguments } from '@crystal-forge/nix-cli'
import { type JobPayload, parseStorePath } from '@crystal-forge/protocol'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { storeCall } from '../src/nix-calls.ts'
import { pushElsewhere } from '../src/push-elsewhere.ts'
import { standIn } from './control-plane-stand-in.ts'
import { testJob } from './fleet-job.ts'
import { memoryCache } from './memory-cache.ts'
import { type TestMachine, testMachine } from './test-machine.ts'

const WORK: JobPayload = {
  kind: 'scan',
  derivation: 'd_1',
  drv_path: `/nix/store/${'0'.repeat(32)}-x.drv`,
  out_path: `/nix/store/${'0'.repeat(32)}-x`,
}
const directory = mkdtempSync(join(tmpdir(), 'cf-elsewhere-'))
const world = standIn()
const machines: TestMachine[] = []
const found = hasNix() ? await findStore({ uid: process.getuid?.() ?? -1 }) : undefined
const outPath = parseStorePath(WORK.out_path)

function hasNix(): boolean {
  try {
    execFileSync('nix-store', ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

afterAll(async () => {
  for (const machine of machines) await machine.remove()
  rmSync(directory, { recursive: true, force: true })
})

/** A job on a machine whose section `cache` has these keys. */
async function jobWith(cache: Readonly<Record<string, string>>) {
  const keys = Object.entries(cache).map(([key, value]) => [
    `CRYSTAL_FORGE__CACHE__${key.toUpperCase()}`,
    value,
  ])
  const machine = await testMachine({
    seed: world.builderSeed,
    ...(found?.kind === 'found' ? { store: found.store } : {}),
    environment: Object.fromEntries(keys),
  })
  machines.push(machine)
  return testJob(world, WORK, { machine, bucket: memoryCache() }).context
}

test('without a second cache there is nothing to do, and one that a filter closes says so', async () => {
  if (outPath === null) throw new Error('no path')
  expect(await pushElsewhere(await jobWith({}), outPath)).toBeUndefined()
  const filtered = await jobWith({ push_to: `file://${directory}/none`, push_filter: 'nixos-system' })
  expect(await pushElsewhere(filtered, outPath)).toMatch(
    /^not copied to file:.*: .* matches none of cache\.push_filter$/,
  )
})

describe.skipIf(found?.kind !== 'found')('with Nix', () => {
  let path: NonNullable<ReturnType<typeof parseStorePath>>
  beforeAll(async () => {
    const context = await jobWith({})
    const { env, store } = storeCall(context)
    writeFileSync(join(directory, 'hello.txt'), `hello ${process.pid}\n`)
    const added = execFileSync(
      'nix-store',
      [...storeArguments(store), '--add', join(directory, 'hello.txt')],
      {
        env,
        encoding: 'utf8',
      },
    )
    const parsed = parseStorePath(added.trim())
    if (parsed === null) throw new Error(added)
    path = parsed
  })

  test('a closure lies in the second cache afterwards, compressed as asked', async () => {
    const target = join(directory, 'cache')
    const context = await jobWith({ push_to: `file://${target}`, compression: 'xz' })
    expect(await pushElsewhere(context, path)).toBe(`copied to file://${target}`)
    const narinfos = readdirSync(target).filter((name) => name.endsWith('.narinfo'))
    expect(narinfos).toHaveLength(1)
    const text = readFileSync(join(target, narinfos.join()), 'utf8')
    expect(text).toContain(`StorePath: ${path}`)
    expect(text).toContain('Compression: xz')
  })

  test('one that cannot be reached is tried again and then told, without the parameters of its URL', {
    timeout: 60_000,
  }, async () => {
    const context = await jobWith({ push_to: 'file:///proc/none', signing_key: '/nonexistent/key' })
    expect(await pushElsewhere(context, path)).toMatch(/^NOT copied to file:\/\/\/proc\/none: nix: /)
  })
})

test('Attic gets the token by a file that only we read', { timeout: 30_000 }, async () => {
  if (outPath === null) throw new Error('no path')
  const bin = join(directory, 'bin')
  const report = join(directory, 'attic-report')
  mkdirSync(bin)
  // Stands for the program: keeps its arguments, its environment and the file it was given.
  writeFileSync(
    join(bin, 'attic'),
    `#!/bin/sh\n{ printf '%s\\n' "$@"; env; cat "$XDG_CONFIG_HOME/attic/config.toml"; } > ${report}\n`,
  )
  chmodSync(join(bin, 'attic'), 0o755)
  writeFileSync(join(directory, 'token'), 'tok-secret\n', { mode: 0o600 })
  const context = await jobWith({
    cache_type: 'Attic',
    push_to: 'https://attic.example.com',
    attic_cache_name: 'main',
    attic_token_file: join(directory, 'token'),
  })
  const nix = { ...context.machine.nix, path: `${bin}:${context.machine.nix.path}` }
  const said = await pushElsewhere({ ...context, machine: { ...context.machine, nix } }, outPath)
  expect(said).toBe('copied to https://attic.example.com (main)')
  const [before, config] = readFileSync(report, 'utf8').split('[servers.crystal-forge]')
  expect(before).toMatch(
    /^push\n--jobs\n5\n--ignore-upstream-cache-filter\n--\ncrystal-forge:main\n\/nix\/store\//,
  )
  expect(before).not.toContain('tok-secret')
  expect(config).toContain('endpoint = "https://attic.example.com"\ntoken = "tok-secret"')
  const file = join(context.machine.config.state_directory, 'attic/attic/config.toml')
  expect(existsSync(file) && statSync(file).mode & 0o777).toBe(0o600)
})
