import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { zstdDecompressSync } from 'node:zlib'
import { closureOf, findStore, type NixStore, pathInfo, probeSandbox } from '@crystal-forge/nix-cli'
import {
  type BuildPayload,
  closureDigest,
  type Evaluated,
  generateKeyPair,
  jobResult,
  keyId,
  parseStorePath,
  parseStrictJson,
  publicKeyOfSeed,
  verifyAttestation,
} from '@crystal-forge/protocol'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type FleetRepository, fleetRepository } from '../../test/fixtures/fleet/repository.ts'
import { buildDerivation } from '../src/build-derivation.ts'
import { evaluateCommit } from '../src/evaluate-commit.ts'
import { fetchDerivations } from '../src/fetch-derivations.ts'
import { storeCall } from '../src/nix-calls.ts'
import { pushClosure } from '../src/push-closure.ts'
import { scan } from '../src/scan.ts'
import { uploadPool } from '../src/upload-pool.ts'
import { standIn } from './control-plane-stand-in.ts'
import { succeededAs, testJob } from './fleet-job.ts'
import { memoryCache } from './memory-cache.ts'
import { type TestMachine, testMachine } from './test-machine.ts'

const nix = await findNix()
const root = realpathSync(mkdtempSync(join(tmpdir(), 'cf-builder-nix-')))
const world = standIn()
const cache = memoryCache()
let fleet: FleetRepository
let machine: TestMachine
let rev: string
let verdicts: ReadonlyMap<string, Evaluated>

async function findNix(): Promise<{ store: NixStore; version: string; note: string } | { note: string }> {
  try {
    const version = execFileSync('nix', ['--version'], { encoding: 'utf8' }).trim().split(' ').at(-1) ?? ''
    const found = await findStore({ uid: process.getuid?.() ?? -1 })
    return found.kind === 'found'
      ? { store: found.store, version, note: `(Nix ${version})` }
      : { note: `(skipped: ${found.reason})` }
  } catch {
    return { note: '(skipped: nix is not installed)' }
  }
}

function ok(name: string): Extract<Evaluated, { state: 'ok' }> {
  const verdict = verdicts.get(name)
  if (verdict?.state !== 'ok') throw new Error(`${name} did not evaluate: ${JSON.stringify(verdict)}`)
  return verdict
}

function buildWork(name: string, changes: Partial<BuildPayload> = {}): BuildPayload {
  const verdict = ok(name)
  return {
    kind: 'build',
    derivation: 'd_1',
    drv_path: verdict.drv_path,
    out_path: verdict.out_path,
    export_key: verdict.export_key,
    source: { kind: 'local', path: fleet.path },
    branch: 'main',
    rev,
    configuration: name,
    evaluator: machine.machine.nixVersion,
    memory_factor: 1,
    ...changes,
  }
}

describe.skipIf(!('store' in nix))(`a builder with real Nix ${nix.note}`, () => {
  beforeAll(async () => {
    if (!('store' in nix)) return
    fleet = fleetRepository(join(root, 'fleet'))
    // Two hosts that share nearly everything, never built before on this machine.
    const nonce = `nonce-${process.pid}-${Date.now()}`
    fleet.commit({
      file: 'hosts/web-1.nix',
      replace: '  agent = true;',
      by: `  files."nonce" = "${nonce}";\n  agent = true;`,
    })
    rev = fleet.commit({
      file: 'hosts/web-2.nix',
      replace: '  agent = true;',
      by: `  files."nonce" = "${nonce}";\n  agent = true;`,
    })
    machine = await testMachine({
      seed: world.builderSeed,
      store: nix.store,
      nixVersion: nix.version,
      localFlakes: [fleet.path],
    })
    const sandbox = await probeSandbox(machine.machine.nix, { nonce })
    machine = { ...machine, machine: { ...machine.machine, sandbox } }
    const work = {
      kind: 'evaluate',
      flake: 'f_1',
      commit: 'c_1',
      source: { kind: 'local', path: fleet.path },
      branch: 'main',
      rev,
    } as const
    const job = testJob(world, work, { machine, bucket: cache })
    const result = await evaluateCommit(job.context, work)
    expect(succeededAs(result, 'evaluate')).toMatchObject({ configurations: 6, failed: 1 })
    expect(job.progress.at(-1)).toMatch(/^evaluate 6\/6 configurations /)
    verdicts = new Map(world.evaluations.map((verdict) => [verdict.configuration, verdict]))
  }, 120_000)
  afterAll(async () => {
    await machine?.remove()
    execFileSync('chmod', ['-R', 'u+w', root])
    rmSync(root, { recursive: true, force: true })
  })

  test('every configuration has its own verdict, and the one that does not evaluate its own words', () => {
    expect([...verdicts.keys()]).toHaveLength(6)
    expect([...verdicts.keys()]).toEqual(
      expect.arrayContaining(['broken-build', 'broken-eval', 'db-1', 'legacy-1', 'web-1', 'web-2']),
    )
    expect(verdicts.get('broken-eval')).toMatchObject({
      state: 'error',
      class: 'eval',
      message: expect.stringContaining("The option `services.ngnix.enable' does not exist"),
    })
    expect(ok('web-1')).toMatchObject({
      agent_assertion: true,
      system: 'x86_64-linux',
      stig_report: expect.anything(),
    })
    expect(ok('legacy-1').agent_assertion).toBe(false)
    expect(world.unreadable).toEqual([])
  })

  test('the recipes of every host lie in the bucket', () => {
    for (const name of ['web-1', 'db-1', 'broken-build'])
      expect(cache.objects.has(ok(name).export_key ?? '')).toBe(true)
  })

  test('two hosts built at a time push what they share once, and everything is committed', {
    timeout: 120_000,
  }, async () => {
    const uploads = uploadPool(4)
    const [web1, web2] = ['web-1', 'web-2'].map((name) =>
      testJob(world, buildWork(name), { machine, bucket: cache, uploads }),
    )
    if (web1 === undefined || web2 === undefined) throw new Error('no jobs')
    const [first, second] = await Promise.all([
      buildDerivation(web1.context, buildWork('web-1')),
      buildDerivation(web2.context, buildWork('web-2')),
    ])
    for (const [name, result, { context }] of [
      ['web-1', first, web1],
      ['web-2', second, web2],
    ] as const) {
      const built = succeededAs(result, 'build')
      expect(jobResult.safeParse({ v: 1, fence: 1, result }).error).toBeUndefined()
      expect(built.out_path).toBe(ok(name).out_path)
      expect(world.toplevels).toContain(built.out_path)
      expect(built.isolation).toBe('none: a test')
      // The attestation is about exactly this build, and the digest about exactly this closure.
      const publicKey = publicKeyOfSeed(world.builderSeed)
      const verified = verifyAttestation(built.attestation, [
        { keyId: keyId(publicKey), publicKey, role: 'builder', person: 'b1' },
      ])
      if (!verified.ok) throw new Error(verified.code)
      expect(JSON.stringify(parseStrictJson(verified.payload))).toContain(built.closure.sha256)
      const closure = closureIn(world.cached, built.out_path)
      expect(closure).toHaveLength(built.closure.count)
      const digest = closureDigest(
        closure.map(({ path, nar_hash, nar_size, references }) => ({
          storePath: storePathOf(path),
          narHash: nar_hash,
          narSize: nar_size,
          references: references.map(storePathOf),
        })),
      )
      expect(digest.sha256).toBe(built.closure.sha256)
      expect(context.document.job).not.toBe('')
    }
    const nars = cache.writes.filter((key) => key.startsWith('nar/'))
    expect(new Set(nars).size).toBe(nars.length)
    expect(web1.progress.some((said) => /^push \d+\/\d+ bytes \d+ of \d+ paths$/.test(said))).toBe(true)
    expect(readdirSync(join(machine.machine.config.state_directory, 'uploads'))).toEqual([])
    expect(readdirSync(join(machine.machine.config.state_directory, 'gc-roots'))).toHaveLength(2)
  })

  test('what lies in the cache is what the store has', () => {
    for (const { path, url, nar_size } of closureIn(world.cached, ok('web-1').out_path).slice(0, 5)) {
      const nar = cache.objects.get(url)
      expect(zstdDecompressSync(nar ?? Buffer.alloc(0)).length, path).toBe(nar_size)
    }
  })

  test('the same build again sends nothing', { timeout: 60_000 }, async () => {
    const { context } = testJob(world, buildWork('web-1'), { machine, bucket: cache })
    const built = succeededAs(await buildDerivation(context, buildWork('web-1')), 'build')
    expect(built.pushed).toEqual({ paths: 0, bytes: 0 })
  })

  test('a build that fails says so in the words of its builder', { timeout: 60_000 }, async () => {
    const { context } = testJob(world, buildWork('broken-build'), { machine, bucket: cache })
    const result = await buildDerivation(context, buildWork('broken-build'))
    expect(result).toMatchObject({ outcome: 'failed', class: 'build' })
    expect(result.outcome === 'failed' && result.message).toMatch(
      /^nginx-1\.27\.0: .*\n.*implicit declaration of function/s,
    )
  })

  test('an output that is not the promised one is a mismatch', { timeout: 60_000 }, async () => {
    const work = buildWork('web-1', { out_path: ok('web-2').out_path })
    const { context } = testJob(world, work, { machine, bucket: cache })
    expect(await buildDerivation(context, work)).toMatchObject({ outcome: 'failed', class: 'hash_mismatch' })
  })

  test('a path whose content is not what the store says is not pushed', { timeout: 60_000 }, async () => {
    const empty = standIn()
    const bucket = memoryCache()
    const { context } = testJob(empty, buildWork('web-1'), { machine, bucket })
    const outPath = storePathOf(ok('web-1').out_path)
    const closure = await closureOf(storeCall(context), outPath)
    if (closure.kind !== 'closure') throw new Error(closure.kind)
    const infos = [...closure.infos.values()].map((info) =>
      info.path === outPath ? { ...info, narHash: `sha256-${'A'.repeat(43)}=` } : info,
    )
    expect(await pushClosure(context, { outPath, infos })).toMatchObject({
      kind: 'failed',
      class: 'infra',
      why: expect.stringMatching(/^\/nix\/store\/.*: its content has the hash .*, the store says sha256-AAA/),
    })
    expect(empty.cached.size).toBe(0)
    expect(empty.toplevels).toEqual([])
  })

  test('a refusal because the cache has other content is a mismatch, not a reason to try again', {
    timeout: 60_000,
  }, async () => {
    const other = standIn()
    other.trouble(/commit/, { status: 409, code: 'path_conflict' })
    const { context } = testJob(other, buildWork('web-1'), { machine, bucket: cache })
    expect(await buildDerivation(context, buildWork('web-1'))).toMatchObject({ class: 'hash_mismatch' })
  })

  test('a job that must stop builds nothing', {
    timeout: 60_000,
  }, async () => {
    const stop = new AbortController()
    const { context } = testJob(world, buildWork('db-1'), { machine, bucket: cache, signal: stop.signal })
    stop.abort('stopping')
    expect(await buildDerivation(context, buildWork('db-1'))).toMatchObject({
      outcome: 'failed',
      class: 'cancelled',
    })
  })

  test('recipes travel to a builder that never evaluated; what is not a recipe, or another one, does not', {
    timeout: 60_000,
  }, async () => {
    const store = { kind: 'rooted', root: join(root, 'other-store') } as const
    mkdirSync(store.root)
    const away = await testMachine({
      seed: generateKeyPair().seed,
      store,
      nixVersion: machine.machine.nixVersion,
    })
    try {
      const work = buildWork('web-1')
      const drvPath = storePathOf(work.drv_path)
      const { context } = testJob(world, work, { machine: away, bucket: cache })
      const call = storeCall(context)
      expect(await fetchDerivations(context, work, { call, drvPath })).toBeUndefined()
      const known = await pathInfo(call, [drvPath])
      expect(known.kind === 'infos' && known.infos.has(drvPath)).toBe(true)

      // The bucket is not trusted: a file with other recipes is refused, and this builder may not read the flake.
      const foreign = buildWork('db-1', { export_key: work.export_key })
      const lent = testJob(world, foreign, { machine: away, bucket: cache })
      const wanted = { call: storeCall(lent.context), drvPath: storePathOf(foreign.drv_path) }
      await expect(fetchDerivations(lent.context, foreign, wanted)).rejects.toThrow(
        /not declared as a local flake/,
      )
      cache.objects.set('drv/garbage', Buffer.from('no archive'))
      const garbage = buildWork('db-1', { export_key: 'drv/garbage' })
      await expect(fetchDerivations(lent.context, garbage, wanted)).rejects.toThrow(/not declared/)
      expect(readdirSync(join(away.machine.config.state_directory, 'downloads'))).toEqual([])
    } finally {
      execFileSync('chmod', ['-R', 'u+w', store.root])
      await away.remove()
    }
  })

  test('a builder without the export evaluates again, and another path is said as what it is', {
    timeout: 60_000,
  }, async () => {
    const work = buildWork('db-1', { export_key: null })
    const { context } = testJob(world, work, { machine, bucket: cache })
    const call = storeCall(context)
    expect(
      await fetchDerivations(context, work, { call, drvPath: storePathOf(work.drv_path) }),
    ).toBeUndefined()
    const never = storePathOf(`/nix/store/${'0'.repeat(32)}-nixos-system-db-1.drv`)
    expect(await fetchDerivations(context, work, { call, drvPath: never })).toMatchObject({
      class: 'infra',
      message: expect.stringMatching(/^evaluator version: Nix .* the export is needed/),
    })
  })

  test('without a scanner nothing is clean', async () => {
    const work = {
      kind: 'scan',
      derivation: 'd_1',
      drv_path: ok('web-1').drv_path,
      out_path: ok('web-1').out_path,
    } as const
    const { context } = testJob(world, work, { machine, bucket: cache })
    const scanned = succeededAs(await scan(context, work), 'scan')
    expect(scanned).toMatchObject({
      outcome: expect.stringMatching(/^(no_scanner|scanned)$/),
      findings: expect.any(Array),
    })
    if (scanned.outcome === 'no_scanner') expect(scanned.scanner).toBeNull()
  })
})

function closureIn(cached: typeof world.cached, path: string) {
  const seen = new Map<string, NonNullable<ReturnType<typeof cached.get>>>()
  const waiting = [path]
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const found = cached.get(next)
    if (found === undefined) throw new Error(`${next} is not in the cache`)
    if (seen.has(next)) continue
    seen.set(next, found)
    waiting.push(...found.references)
  }
  return [...seen.values()]
}

function storePathOf(text: string): NonNullable<ReturnType<typeof parseStorePath>> {
  const parsed = parseStorePath(text)
  if (parsed === null) throw new Error(`${text} is no store path`)
  return parsed
}
