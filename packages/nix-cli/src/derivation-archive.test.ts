import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { storePath } from '@crystal-forge/protocol'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { exportDerivations, importDerivations } from './derivation-archive.ts'
import { checkExport } from './export-format.ts'
import type { NixCall } from './nix-call.ts'
import { buildEnvironment, storeArguments } from './nix-environment.ts'
import { testNix } from './test-nix.ts'

const nix = await testNix()
const directory = realpathSync(mkdtempSync(join(tmpdir(), 'archive-')))
const nonce = `${process.pid}-${Date.now()}`
const limits = { bytesMax: 10_000_000, pathsMax: 1_000 }
const file = join(directory, 'x.drvs.zst')
let call: NixCall
let drv = storePath('/nix/store/00000000000000000000000000000000-x.drv')
let archive = Buffer.alloc(0)

const check = (bytes: Uint8Array) => checkExport(pieces(bytes), limits)

/** In chunks of odd sizes, as a network gives them. */
async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 1_021) yield bytes.subarray(at, at + 1_021)
}

beforeAll(async () => {
  if (nix.kind === 'none') return
  const env = buildEnvironment(nix.setup(directory), {
    sandbox: { kind: 'off', reason: 'tests run without' },
    substituters: [],
    trustedPublicKeys: [],
    maxJobs: 1,
    cores: 1,
    buildUsersGroup: '',
  })
  call = { env, store: nix.store, timeoutMs: 30_000 }
  writeFileSync(join(directory, 'source.txt'), `source ${nonce}\n`)
  writeFileSync(
    join(directory, 'x.nix'),
    `let d = name: src: derivation { inherit name src; system = builtins.currentSystem; builder = "/bin/sh"; nonce = "${nonce}"; args = [ "-c" "echo > $out" ]; };
     in d "top" [ (d "middle" ./source.txt) (builtins.toFile "text" "text ${nonce}") (builtins.path { path = ./source.txt; name = "flat"; recursive = false; }) ]`,
  )
  drv = storePath(
    execFileSync('nix-instantiate', [...storeArguments(nix.store), join(directory, 'x.nix')], {
      env,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim(),
  )
  expect(await exportDerivations(call, { drvPath: drv, file })).toMatchObject({
    kind: 'exported',
    paths: 5,
    sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
  })
  archive = zstdDecompressSync(readFileSync(file))
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

describe.skipIf(nix.kind === 'none')(`derivations that travel ${nix.note}`, () => {
  it('are recipes and sources, each named after its content', async () => {
    const paths = await check(archive)
    expect(new Map(paths.map(({ path, kind }) => [path.slice(44), kind]))).toEqual(
      new Map([
        ['source.txt', 'source'],
        ['middle.drv', 'text'],
        ['text', 'text'],
        ['flat', 'file'],
        ['top.drv', 'text'],
      ]),
    )
    expect(paths.at(-1)?.path).toBe(drv)
  })

  it('arrive in a store that does not have them', async () => {
    const root = join(directory, 'other')
    const other: NixCall = { ...call, store: { kind: 'rooted', root } }
    expect(await importDerivations(other, { drvPath: drv, file })).toMatchObject({
      kind: 'imported',
      paths: expect.arrayContaining([drv]),
    })
    expect(readFileSync(join(root, drv), 'utf8')).toContain(nonce)
  })

  it('are refused when an output is among them, which Nix itself would take from root unsigned', async () => {
    const env = call.env
    const out = execFileSync('nix-store', [...storeArguments(call.store), '--realise', drv], {
      env,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim()
    const paths = execFileSync(
      'nix-store',
      [...storeArguments(call.store), '--query', '--requisites', drv, out],
      { env, encoding: 'utf8' },
    )
      .trim()
      .split('\n')
    const evil = join(directory, 'evil.zst')
    writeFileSync(
      evil,
      zstdCompressSync(
        execFileSync('nix-store', [...storeArguments(call.store), '--export', ...paths], { env }),
      ),
    )
    expect(await importDerivations(call, { drvPath: drv, file: evil })).toEqual({
      kind: 'refused',
      message: expect.stringMatching(/-top is neither a recipe nor a source/),
    })
  })

  it('are refused when a recipe was changed under its name', async () => {
    const changed = Buffer.from(archive)
    const at = changed.indexOf('echo > $out')
    changed.write('echo 1>$out', at, 'latin1')
    await expect(check(changed)).rejects.toThrow('not the recipe that its name promises')
  })

  it('are refused without the derivation that is wanted, larger than allowed, or not compressed', async () => {
    const wanted = storePath('/nix/store/00000000000000000000000000000000-other.drv')
    expect(await importDerivations(call, { drvPath: wanted, file })).toMatchObject({
      kind: 'refused',
      message: expect.stringContaining('does not contain'),
    })
    expect(
      await importDerivations(call, { drvPath: drv, file, limits: { bytesMax: 1_000, pathsMax: 10 } }),
    ).toMatchObject({ kind: 'refused', message: expect.stringContaining('larger than 1000') })
    expect(
      await importDerivations(call, { drvPath: drv, file, limits: { bytesMax: 1e9, pathsMax: 4 } }),
    ).toMatchObject({ kind: 'refused', message: expect.stringContaining('more than 4 paths') })
    const plain = join(directory, 'plain')
    writeFileSync(plain, archive)
    expect(await importDerivations(call, { drvPath: drv, file: plain })).toMatchObject({ kind: 'refused' })
    expect(await importDerivations(call, { drvPath: drv, file: join(directory, 'absent') })).toMatchObject({
      kind: 'refused',
      message: expect.stringContaining('ENOENT'),
    })
  })

  it('never pass when a byte is changed, taken away or added', async () => {
    // The deriver is a remark: it is not part of any name and may be changed.
    await fc.assert(
      fc.asyncProperty(fc.nat(archive.length - 1), fc.integer({ min: 1, max: 255 }), async (at, flip) => {
        const changed = Buffer.from(archive)
        changed[at] = (changed[at] ?? 0) ^ flip
        const outcome = await check(changed).catch((error: unknown) => error)
        expect(outcome).toBeInstanceOf(RangeError)
      }),
      { numRuns: 150 },
    )
    await fc.assert(
      fc.asyncProperty(fc.nat(archive.length - 1), async (length) => {
        await expect(check(archive.subarray(0, length))).rejects.toThrow(RangeError)
      }),
      { numRuns: 50 },
    )
    await expect(check(Buffer.concat([archive, Buffer.from('x')]))).rejects.toThrow('goes on after its end')
  })

  it('that cannot be exported say why and leave no file', async () => {
    const absent = storePath('/nix/store/00000000000000000000000000000000-absent.drv')
    const target = join(directory, 'none.zst')
    expect(await exportDerivations(call, { drvPath: absent, file: target })).toMatchObject({
      kind: 'failed',
      class: 'infra',
      message: expect.stringContaining('absent.drv'),
    })
    expect(() => readFileSync(target)).toThrow('ENOENT')
  })
})

describe('an archive that is none', () => {
  it.each([
    ['nothing', Buffer.alloc(0)],
    ['zeroes', Buffer.alloc(64)],
    ['text', Buffer.from('hello, world: this is no archive')],
    ['an endless length', Buffer.from([1, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255])],
  ])('is refused: %s', async (_, bytes) => {
    await expect(check(bytes)).rejects.toThrow(RangeError)
  })
})
