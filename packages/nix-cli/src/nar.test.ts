import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { zstdDecompressSync } from 'node:zlib'
import { nix32OfHash, storePath } from '@crystal-forge/protocol'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { hashPath, narStream, packNar } from './nar.ts'
import { testNix } from './test-nix.ts'

const nix = await testNix()
const directory = realpathSync(mkdtempSync(join(tmpdir(), 'nar-')))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

type Tree =
  | { readonly kind: 'file'; readonly content: Uint8Array; readonly executable: boolean }
  | { readonly kind: 'link'; readonly target: string }
  | { readonly kind: 'directory'; readonly entries: Readonly<Record<string, Tree>> }

const name = fc
  .oneof(fc.stringMatching(/^[a-zA-Z0-9._-]{1,6}$/), fc.constantFrom('ä', 'Z', 'a', '€', '😀', '\uffff'))
  .filter((text) => text !== '.' && text !== '..')
const tree = fc.letrec<{ node: Tree; file: Tree; link: Tree; directory: Tree }>((tie) => ({
  node: fc.oneof({ maxDepth: 3 }, tie('file'), tie('link'), tie('directory')),
  file: fc.record({
    kind: fc.constant('file'),
    content: fc.uint8Array({ maxLength: 40 }),
    executable: fc.boolean(),
  }),
  link: fc.record({ kind: fc.constant('link'), target: fc.stringMatching(/^[a-z/.]{1,20}$/) }),
  directory: fc.record({
    kind: fc.constant('directory'),
    entries: fc.dictionary(name, tie('node'), { maxKeys: 5 }),
  }),
})).node

function write(path: string, node: Tree): void {
  switch (node.kind) {
    case 'file':
      writeFileSync(path, node.content)
      chmodSync(path, node.executable ? 0o755 : 0o644)
      return
    case 'link':
      symlinkSync(node.target, path)
      return
    case 'directory':
      mkdirSync(path)
      for (const [entry, child] of Object.entries(node.entries)) write(join(path, entry), child)
  }
}

describe.skipIf(nix.kind === 'none')(`an archive ${nix.note}`, () => {
  it('is byte for byte the one of nix-store --dump', async () => {
    let count = 0
    await fc.assert(
      fc.asyncProperty(tree, async (node) => {
        const path = join(directory, `tree-${count++}`)
        write(path, node)
        const theirs = execFileSync('nix-store', ['--dump', path])
        expect((await buffer(narStream(path))).equals(theirs)).toBe(true)
      }),
      { numRuns: 40 },
    )
  })

  it('of a file that is larger than a chunk', async () => {
    const path = join(directory, 'large')
    writeFileSync(path, Buffer.alloc(1_000_003, 'x'))
    expect((await buffer(narStream(path))).equals(execFileSync('nix-store', ['--dump', path]))).toBe(true)
  })
})

describe('a packed archive', () => {
  it('has the hashes and sizes of what is in the file', async () => {
    const path = join(directory, 'nix/store/00000000000000000000000000000000-x')
    mkdirSync(join(directory, 'nix/store'), { recursive: true })
    write(path, {
      kind: 'directory',
      entries: { a: { kind: 'file', content: Buffer.alloc(5000, 'a'), executable: true } },
    })
    const file = join(directory, 'x.nar.zst')
    const store = { kind: 'rooted', root: directory } as const
    const packed = await packNar({
      store,
      path: storePath('/nix/store/00000000000000000000000000000000-x'),
      file,
    })
    const compressed = readFileSync(file)
    const sri = (bytes: Buffer) => `sha256-${createHash('sha256').update(bytes).digest('base64')}`
    const archive = zstdDecompressSync(compressed)
    expect(packed).toEqual({
      narHash: sri(archive),
      narSize: archive.length,
      fileHash: sri(compressed),
      fileHashNix32: nix32OfHash(sri(compressed)).replace('sha256:', ''),
      fileSize: compressed.length,
    })
    expect(await hashPath(path)).toEqual({ narHash: packed.narHash, narSize: packed.narSize })
    await expect(
      packNar({ store, path: storePath('/nix/store/00000000000000000000000000000000-x'), file }),
    ).rejects.toThrow('EEXIST')
  })

  it('of a path that is not there, or of a socket, is an error', async () => {
    await expect(hashPath(join(directory, 'absent'))).rejects.toThrow('ENOENT')
    await expect(hashPath('/dev/null')).rejects.toThrow('cannot be in an archive')
  })
})
