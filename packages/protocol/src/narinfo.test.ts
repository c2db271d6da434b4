import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { closureDigest } from './closure-digest.ts'
import { type NarInfo, narInfoFingerprint, parseNarInfo, renderNarInfo } from './narinfo.ts'
import {
  parseCacheSecretKey,
  renderCachePublicKey,
  renderCacheSecretKey,
  signNarInfo,
} from './narinfo-sign.ts'
import { parseCachePublicKey, verifiedCacheKeys } from './narinfo-verify.ts'
import { sha256ToNix32 } from './nix-hash.ts'
import { generateKeyPair } from './secret-seed.ts'
import { type StorePath, storePath } from './store-path.ts'

const letter = fc.constantFrom(...'0123456789abcdfghijklmnpqrsvwxyz')
const path: fc.Arbitrary<StorePath> = fc
  .tuple(
    fc.string({ unit: letter, minLength: 32, maxLength: 32 }),
    fc.stringMatching(/^[a-z0-9+_?=][a-z0-9+._?=-]{0,20}$/),
  )
  .map(([hash, name]) => storePath(`/nix/store/${hash}-${name}`))
const hash = fc.uint8Array({ minLength: 32, maxLength: 32 }).map(sha256ToNix32)
const narInfo: fc.Arbitrary<NarInfo> = fc.record({
  storePath: path,
  url: fc.stringMatching(/^nar\/[a-z0-9]{1,20}\.nar(\.zst)?$/),
  compression: fc.constantFrom('none', 'zstd', 'xz'),
  fileHash: fc.option(hash),
  fileSize: fc.option(fc.nat()),
  narHash: hash,
  narSize: fc.integer({ min: 1 }),
  references: fc
    .uniqueArray(path, { maxLength: 6 })
    .map((paths) => paths.toSorted((a, b) => (a < b ? -1 : 1))),
  deriver: fc.option(path),
  ca: fc.option(hash.map((text) => `fixed:r:${text}`)),
  signatures: fc.array(
    fc.record({ keyName: fc.stringMatching(/^[a-z.-]{1,9}-1$/), base64: fc.base64String() }),
    { maxLength: 3 },
  ),
})

const key = { name: 'cache.example.com-1', seed: generateKeyPair().seed }
const trusted = new Map([parsed(renderCachePublicKey(key))])

describe('a narinfo file', () => {
  it('is read as it was written', () => {
    fc.assert(
      fc.property(narInfo, (info) => {
        expect(parseNarInfo(renderNarInfo(info))).toEqual(info)
      }),
    )
  })

  it('verifies once it is signed, and no longer when path, hash, size or references change', () => {
    fc.assert(
      fc.property(narInfo, path, hash, (info, otherPath, otherHash) => {
        const signed = { ...info, signatures: [...info.signatures, signNarInfo(info, key)] }
        expect(verifiedCacheKeys(signed, trusted)).toEqual([key.name])
        fc.pre(
          otherPath !== info.storePath && otherHash !== info.narHash && !info.references.includes(otherPath),
        )
        for (const change of [
          { storePath: otherPath },
          { narHash: otherHash },
          { narSize: info.narSize + 1 },
          { references: [...info.references, otherPath] },
        ]) {
          expect(verifiedCacheKeys({ ...signed, ...change }, trusted)).toEqual([])
        }
      }),
      { numRuns: 30 },
    )
  })

  it('is signed over sorted references, however they are listed', () => {
    fc.assert(
      fc.property(narInfo, (info) => {
        const shuffled = { ...info, references: [...info.references].reverse() }
        expect(narInfoFingerprint(shuffled)).toBe(narInfoFingerprint(info))
      }),
    )
  })

  const good = [
    'StorePath: /nix/store/w9yy7v61ipb5rx6i35zq1mvc2iqfmps1-hello-2.10',
    'URL: nar/x.nar.xz',
    'NarHash: sha256:1mi14cqk363wv368ffiiy01knardmnlyphi6h9xv6dkjz44hk30i',
    'NarSize: 205968',
    'References: 9df65igwjmf2wbw0gbrrgair6piqjgmi-glibc-2.31',
  ]
  const text = (lines: readonly string[]) => `${lines.join('\n')}\n`

  it('needs no more than path, URL, hash and size, and ignores what it does not know', () => {
    expect(parseNarInfo(text(good))).toMatchObject({ compression: 'bzip2', deriver: null, signatures: [] })
    expect(
      parseNarInfo(text([...good.slice(0, 4), 'Future: x', 'References: ', 'Deriver: unknown-deriver'])),
    ).toMatchObject({
      references: [],
      deriver: null,
    })
  })

  it.each<[string, string]>([
    ['an unknown field twice', text([...good, 'System: a', 'System: b'])],
    ['an unknown field of any name', text([...good, 'X_Field of.some: x:y', 'Empty: '])],
    ['two spaces between references', text(good.map((line) => line.replace(/(9df65.*)/, '$1  $1')))],
    ['a space around the references', text(good.map((line) => line.replace(/(9df65.*)/, ' $1 ')))],
    ['an empty content address', text([...good, 'CA: '])],
    ['fields in another order', text(good.toReversed())],
  ])('says the same with %s, as Nix reads it', (_what, content) => {
    expect(parseNarInfo(content)).toMatchObject({
      ...parseNarInfo(text(good)),
      references: expect.anything(),
    })
    const fingerprints = [content, text(good)].map((one) => parseNarInfo(one)).map(fingerprintOf)
    expect(fingerprints[0]).toBe(fingerprints[1])
  })

  it.each([
    'text:sha256:1mi14cqk363wv368ffiiy01knardmnlyphi6h9xv6dkjz44hk30i',
    'fixed:sha1:0000000000000000000000000000000000000000',
    'fixed:r:sha256:1mi14cqk363wv368ffiiy01knardmnlyphi6h9xv6dkjz44hk30i',
    'fixed:git:sha256:1mi14cqk363wv368ffiiy01knardmnlyphi6h9xv6dkjz44hk30i',
  ])('takes the content address %s', (ca) => {
    expect(parseNarInfo(text([...good, `CA: ${ca}`]))).toMatchObject({ ca })
  })

  it('reads the NAR hash in every spelling and signs one', () => {
    const hex = text([...good.slice(0, 2), `NarHash: sha256:${'00'.repeat(32)}`, ...good.slice(3)])
    expect(parseNarInfo(hex)?.narHash).toBe(`sha256:${'0'.repeat(52)}`)
  })

  it.each<[string, string]>([
    ['no last line feed', good.join('\n')],
    ['carriage returns', good.join('\r\n').concat('\r\n')],
    ['an empty line', text([...good, ''])],
    ['a line without a colon', text([...good, 'x'])],
    ['no space after the colon', text([...good.slice(1), (good[0] ?? '').replace(': ', ':')])],
    ['two paths', text([...good, good[0] ?? ''])],
    ['two reference lists', text([...good, 'References: '])],
    ['no path', text(good.slice(1))],
    ['no URL', text(good.filter((_, at) => at !== 1))],
    ['no hash', text(good.filter((_, at) => at !== 2))],
    ['no size', text(good.filter((_, at) => at !== 3))],
    ['a size of zero', text(good.map((line) => line.replace('205968', '0')))],
    ['a padded size', text(good.map((line) => line.replace('205968', '0205968')))],
    ['a signed size', text(good.map((line) => line.replace('205968', '+205968')))],
    ['a size beyond integers', text(good.map((line) => line.replace('205968', '9'.repeat(17))))],
    ['another hash algorithm', text(good.map((line) => line.replace('sha256:', 'sha1:')))],
    ['an absolute reference', text(good.map((line) => line.replace('9df65', '/nix/store/9df65')))],
    ['a tab between references', text(good.map((line) => line.replace(/(9df65.*)/, '$1\t$1')))],
    ['no space after an empty list of references', text([...good.slice(0, 4), 'References:'])],
    ['a tab after the colon', text(good.map((line) => line.replace('NarSize: ', 'NarSize:\t')))],
    ['a content address that is none', text([...good, 'CA: x'])],
    ['a content address of no algorithm', text([...good, 'CA: fixed:r:crc32:0000'])],
    ['a content address that is too short', text([...good, 'CA: fixed:r:sha256:abc'])],
    ['a text that is not named by SHA-256', text([...good, `CA: text:sha1:${'0'.repeat(32)}`])],
    ['two content addresses', text([...good, 'CA: ', 'CA: '])],
    ['a hash with a letter too many', text(good.map((line) => line.replace('sha256:1mi', 'sha256:1mii')))],
    ['a path with more behind it', text(good.map((line) => line.replace('hello-2.10', 'hello-2.10/bin')))],
    ['a path with a slash at its end', text(good.map((line) => line.replace('hello-2.10', 'hello-2.10/')))],
    ['a byte order mark', `\ufeff${text(good)}`],
    ['a path with a dot segment', text(good.map((line) => line.replace('hello-2.10', '../x')))],
    ['a bad file hash', text([...good, 'FileHash: x'])],
    ['a bad deriver', text([...good, 'Deriver: x'])],
    ['a huge text', text([...good, `X: ${'x'.repeat(1024 * 1024)}`])],
    ['nothing', ''],
  ])('is not one with %s', (_what, content) => {
    expect(parseNarInfo(content)).toBeNull()
  })

  it('is trusted by one good signature among others', () => {
    const info = parseNarInfo(text(good))
    if (info === null) throw new Error('the example is a narinfo')
    const own = signNarInfo(info, key)
    const stranger = signNarInfo(info, { name: key.name, seed: generateKeyPair().seed })
    const signatures = [
      { keyName: 'other-1', base64: own.base64 },
      { keyName: key.name, base64: '?' },
      stranger,
      own,
      own,
    ]
    expect(verifiedCacheKeys({ ...info, signatures }, trusted)).toEqual([key.name])
    expect(verifiedCacheKeys({ ...info, signatures: signatures.slice(0, 3) }, trusted)).toEqual([])
  })
})

describe('keys of a cache', () => {
  it('are read and written in the format of Nix', () => {
    const secret = renderCacheSecretKey(key)
    expect(parseCacheSecretKey(`${secret}\n`)?.name).toBe(key.name)
    expect(renderCacheSecretKey(parseCacheSecretKey(secret) ?? key)).toBe(secret)
    expect(
      parseCacheSecretKey(
        'cf-test-1:2R+u36RrTWr6fM4AgYI+CGBHjtlvuU3Ww0M7BpD+KYOp6fVN8ZoOmmi1e8+CVVU20AOC4ZuCTg0ZgOst8zKujA==',
      )?.name,
    ).toBe('cf-test-1')
  })

  it.each(['', 'x', ':AAAA', 'x:AAAA', `x:${'A'.repeat(86)}==`])('are not %j', (text) => {
    expect(parseCacheSecretKey(text)).toBeNull()
    expect(parseCachePublicKey(text)).toBeNull()
  })
})

describe('the digest of a closure', () => {
  const a = storePath(`/nix/store/${'a'.repeat(32)}-a`)
  const b = storePath(`/nix/store/${'b'.repeat(32)}-b`)
  const narHash = `sha256:${'0'.repeat(52)}`

  it('is over sorted lines of path, hash, size and references', () => {
    const closure = [
      { storePath: b, narHash, narSize: 2, references: [b, a, a] },
      { storePath: a, narHash: `sha256:${'00'.repeat(32)}`, narSize: 1, references: [] },
    ]
    const lines = `${a} ${narHash} 1 \n${b} ${narHash} 2 ${a},${b}\n`
    expect(closureDigest(closure)).toEqual({
      count: 2,
      sha256: createHash('sha256').update(lines).digest('hex'),
    })
    expect(closureDigest(closure.toReversed())).toEqual(closureDigest(closure))
  })

  it('is not made of a path that appears twice or a hash that is none', () => {
    const one = { storePath: a, narHash, narSize: 1, references: [] }
    expect(() => closureDigest([one, one])).toThrow('twice')
    expect(() => closureDigest([{ ...one, narHash: 'x' }])).toThrow(RangeError)
  })
})

function fingerprintOf(info: NarInfo | null): string | null {
  return info === null ? null : narInfoFingerprint(info)
}

function parsed(text: string): [string, Uint8Array] {
  const entry = parseCachePublicKey(text)
  if (entry === null) throw new Error(`not a public key: ${text}`)
  return [entry.name, entry.publicKey]
}
