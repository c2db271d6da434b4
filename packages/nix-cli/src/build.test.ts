import { execFileSync } from 'node:child_process'
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type StorePath, storePath } from '@crystal-forge/protocol'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fleetRepository } from '../../../test/fixtures/fleet/repository.ts'
import { type Build, build, isolationAvailable } from './build.ts'
import { evaluateConfiguration } from './evaluate.ts'
import { buildEnvironment, evaluationEnvironment, probeSandbox, storeArguments } from './nix-environment.ts'
import { closureOf, pathInfo } from './path-info.ts'
import { testNix } from './test-nix.ts'

const nix = await testNix()
const directory = realpathSync(mkdtempSync(join(tmpdir(), 'build-')))
const nonce = `${process.pid}-${Date.now()}`
let env: Readonly<Record<string, string>>

const request = (drvPath: StorePath, more: Partial<Build> = {}): Build => {
  if (nix.kind === 'none') throw new Error(nix.note)
  return {
    drvPath,
    call: { env, store: nix.store, timeoutMs: 60_000 },
    maxSilentSec: 0,
    timeoutSec: 0,
    isolation: { kind: 'none', reason: 'a test' },
    gcRoot: null,
    ...more,
  }
}

/** A derivation that nobody has built before. */
function derivation(name: string, script: string, more = ''): StorePath {
  if (nix.kind === 'none') throw new Error(nix.note)
  const file = join(directory, `${name}.nix`)
  const outputs = more.includes('outputs') ? '' : 'outputs = [ "out" ];'
  writeFileSync(
    file,
    `derivation { name = "${name}-1.0"; system = builtins.currentSystem; builder = "/bin/sh"; nonce = "${nonce}"; args = [ "-c" ''${script}'' ]; PATH = "/usr/bin:/bin"; ${outputs} ${more} }`,
  )
  return storePath(
    execFileSync('nix-instantiate', [...storeArguments(nix.store), file], {
      env,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim(),
  )
}

async function fleetDerivation(name: string): Promise<{ drvPath: StorePath; outPath: StorePath }> {
  if (nix.kind === 'none') throw new Error(nix.note)
  const fleet = fleetRepository(join(directory, `fleet-${name}`))
  const rev = fleet.commit({
    file: 'versions.json',
    replace: '"glibc": "2.40-66"',
    by: `"glibc": "2.40-66-${nonce}"`,
  })
  const outcome = await evaluateConfiguration(
    {
      env: evaluationEnvironment(nix.setup(directory), { allowedUris: [], importFromDerivation: false }),
      store: nix.store,
      policy: { hosts: [], localPaths: [directory] },
      timeoutMs: 30_000,
    },
    { kind: 'local', path: fleet.path, rev },
    { name, extras: {} },
  )
  if (outcome.kind === 'error') throw new Error(outcome.message)
  return outcome
}

beforeAll(() => {
  if (nix.kind === 'none') return
  env = buildEnvironment(nix.setup(directory), {
    sandbox: { kind: 'off', reason: 'tests run without' },
    substituters: [],
    trustedPublicKeys: [],
    maxJobs: 2,
    cores: 1,
    buildUsersGroup: '',
  })
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

describe.skipIf(nix.kind === 'none')(`a build ${nix.note}`, () => {
  it('builds a system of the fleet, keeps it by a root and reports lines as they come', async () => {
    const { drvPath, outPath } = await fleetDerivation('web-1')
    const lines: string[] = []
    const outcome = await build(
      request(drvPath, { gcRoot: { directory, name: 'web-1' }, onLogLine: (line) => lines.push(line) }),
    )
    expect(outcome).toMatchObject({ kind: 'built', outputs: [{ name: 'out', path: outPath }] })
    expect(lines.some((line) => line.includes('-openssl-3.0.13.drv'))).toBe(true)
    expect(readlinkSync(join(directory, 'web-1'))).toBe(outPath)
    expect(readFileSync(join(outPath, 'kernel-params'), 'utf8')).toContain('audit=1')
    const closure = await closureOf(request(drvPath).call, outPath)
    expect(closure).toMatchObject({ kind: 'closure' })
    if (closure.kind === 'closure') expect(closure.infos.size).toBe(37)
    const absent = storePath('/nix/store/00000000000000000000000000000000-absent')
    const infos = await pathInfo(request(drvPath).call, [drvPath, absent, outPath])
    expect(infos).toMatchObject({ kind: 'infos', absent: [absent] })
    if (infos.kind === 'infos') expect(new Set(infos.infos.keys())).toEqual(new Set([drvPath, outPath]))
    expect(await closureOf(request(drvPath).call, absent)).toEqual({ kind: 'absent' })
  })

  it('names the derivation that failed, not the system, and shows its last lines', async () => {
    const { drvPath } = await fleetDerivation('broken-build')
    const outcome = await build(request(drvPath))
    expect(outcome).toMatchObject({
      kind: 'failed',
      class: 'build',
      failedDerivation: expect.stringMatching(/-nginx-1\.27\.0\.drv$/),
      message: expect.stringMatching(
        /^nginx-1\.27\.0: builder failed with exit code 2\n.*\n.*implicit declaration of function 'ngx_frobnicate'\nmake: .* Error 2$/,
      ),
    })
  })

  it('gives every output of a derivation by its name', async () => {
    const drvPath = derivation('multi', 'echo $out > $out; echo $out > $dev', 'outputs = [ "out" "dev" ];')
    const outcome = await build(request(drvPath))
    expect(outcome).toMatchObject({ kind: 'built' })
    const outputs =
      outcome.kind === 'built'
        ? Object.fromEntries(outcome.outputs.map(({ name, path }) => [name, path]))
        : {}
    expect(outputs).toEqual({
      out: expect.stringMatching(/-multi-1\.0$/),
      dev: expect.stringMatching(/-multi-1\.0-dev$/),
    })
    expect(Object.values(outputs).every((path) => existsSync(path))).toBe(true)
  })

  it('a hash that the content does not have is no build failure', async () => {
    const drvPath = derivation(
      'hash',
      'echo x > $out',
      `outputHashMode = "flat"; outputHashAlgo = "sha256"; outputHash = "${'0'.repeat(52)}";`,
    )
    expect(await build(request(drvPath))).toMatchObject({
      class: 'hash_mismatch',
      message: expect.stringMatching(/specified: .*\n.*got:/),
    })
  })

  it.each([
    ['silence', { maxSilentSec: 1 }, 'timed out after 1 seconds'],
    ['duration', { timeoutSec: 1 }, 'timed out after 1 seconds'],
  ])('a timeout by %s leaves no builder', async (name, limits, why) => {
    const drvPath = derivation(`slow-${name}`, 'exec sleep 987654')
    expect(await build(request(drvPath, limits))).toMatchObject({
      class: 'timeout',
      message: expect.stringContaining(why),
    })
    expect(processesWith(`${nonce}`)).toEqual([])
  })

  it('the last resort and a cancellation leave no builder either', async () => {
    const slow = derivation('slow-resort', 'exec sleep 987654')
    const { call } = request(slow)
    expect(await build(request(slow, { call: { ...call, timeoutMs: 1_000 } }))).toMatchObject({
      class: 'timeout',
    })
    expect(processesWith(nonce)).toEqual([])
    const abort = new AbortController()
    const cancelled = derivation('slow-cancelled', 'echo begun; exec sleep 987654')
    const onLogLine = (line: string) => line === 'begun' && abort.abort()
    expect(
      await build(request(cancelled, { call: { ...call, signal: abort.signal }, onLogLine })),
    ).toMatchObject({ class: 'cancelled' })
    expect(processesWith(nonce)).toEqual([])
  })

  it('a derivation that is not in the store is a fault of the machine', async () => {
    const outcome = await build(request(storePath('/nix/store/00000000000000000000000000000000-absent.drv')))
    expect(outcome).toMatchObject({ kind: 'failed', class: 'infra' })
  })

  it('a probe says whether builds can be sandboxed, and such a build works', {
    timeout: 60_000,
  }, async () => {
    const setup = nix.kind === 'none' ? undefined : nix.setup(directory)
    if (setup === undefined) return
    const sandbox = await probeSandbox(setup, { nonce })
    if (sandbox.kind === 'off') {
      expect(sandbox.reason).not.toBe('')
      return
    }
    const sandboxed = buildEnvironment(setup, {
      sandbox,
      substituters: [],
      trustedPublicKeys: [],
      maxJobs: 1,
      cores: 1,
      buildUsersGroup: '',
    })
    const drvPath = derivation('sandboxed', 'read -r host < /proc/sys/kernel/hostname; echo $host > $out')
    const outcome = await build(
      request(drvPath, { call: { env: sandboxed, store: setup.store, timeoutMs: 60_000 } }),
    )
    expect(outcome).toMatchObject({ kind: 'built' })
    if (outcome.kind === 'built')
      expect(readFileSync(outcome.outputs[0]?.path ?? '', 'utf8')).toBe('localhost\n')
  })
})

describe('limits', () => {
  it('do not reach a build of the daemon, and the reason says so', async () => {
    expect(await isolationAvailable({ kind: 'daemon' }, { uid: 0 })).toMatchObject({
      kind: 'none',
      reason: expect.stringContaining('nix-daemon'),
    })
    expect(await isolationAvailable({ kind: 'local' }, { uid: 1000 })).toMatchObject({
      kind: 'none',
      reason: expect.stringContaining('root'),
    })
  })
})

/** Processes whose environment contains a text: builders carry the nonce of their derivation. */
function processesWith(text: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid)) return false
    try {
      return readFileSync(`/proc/${pid}/environ`, 'utf8').includes(text)
    } catch {
      return false
    }
  })
}
