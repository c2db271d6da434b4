import { inspect } from 'node:util'
import { Point } from '@noble/ed25519'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeHex } from './base64.ts'
import { signEd25519 } from './ed25519-sign.ts'
import { checkEnrolmentKey, type Ed25519Claim, verifyEd25519, verifyEd25519InPool } from './ed25519-verify.ts'
import { isKeyId, keyId, parsePublicKey, publicKeyOfSpki, renderPublicKey, spkiOf } from './keys.ts'
import { generateKeyPair, parseSeed, publicKeyOfSeed, renderSeed, SecretSeed } from './secret-seed.ts'

/** All fourteen encodings of the eight points of small order, both signs, canonical or not. */
const SMALL_ORDER = [
  `01${'00'.repeat(31)}`,
  `01${'00'.repeat(30)}80`,
  `ec${'ff'.repeat(30)}7f`,
  `ec${'ff'.repeat(31)}`,
  '00'.repeat(32),
  `${'00'.repeat(31)}80`,
  `ed${'ff'.repeat(30)}7f`,
  `ed${'ff'.repeat(31)}`,
  `ee${'ff'.repeat(30)}7f`,
  `ee${'ff'.repeat(31)}`,
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85',
]
const L = 2n ** 252n + 27742317777372353535851937790883648493n

/** The answer of both functions, which is one. */
async function verdict(claim: Ed25519Claim): Promise<boolean> {
  const answer = await verifyEd25519InPool(claim)
  expect(verifyEd25519(claim)).toBe(answer)
  return answer
}

const seed = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => new SecretSeed(bytes))
const message = fc.uint8Array({ maxLength: 200 })

describe('strict Ed25519', () => {
  it('verifies the first vector of RFC 8032', async () => {
    const rfcSeed = new SecretSeed(hex('9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60'))
    const publicKey = publicKeyOfSeed(rfcSeed)
    expect(publicKey).toEqual(hex('d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a'))
    const signature = signEd25519(new Uint8Array(), rfcSeed)
    expect(Buffer.from(signature).toString('hex')).toBe(
      'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
    )
    expect(await verdict({ message: new Uint8Array(), publicKey, signature })).toBe(true)
  })

  it('verifies every signature, and none with one byte changed', async () => {
    await fc.assert(
      fc.asyncProperty(
        seed,
        message,
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        async (key, text, place, flip) => {
          const publicKey = publicKeyOfSeed(key)
          const signature = signEd25519(text, key)
          expect(await verdict({ message: text, publicKey, signature })).toBe(true)
          const changed = signature.map((byte, at) => (at === place % 64 ? byte ^ flip : byte))
          expect(await verdict({ message: text, publicKey, signature: changed })).toBe(false)
          const other = publicKey.map((byte, at) => (at === place % 32 ? byte ^ flip : byte))
          expect(await verdict({ message: text, publicKey: other, signature })).toBe(false)
        },
      ),
      { numRuns: 50 },
    )
  })

  it.each(SMALL_ORDER)('refuses %s as key and as R', async (encoding) => {
    const point = hex(encoding)
    const forged = new Uint8Array([...point, ...new Uint8Array(32)])
    expect(await verdict({ message: new Uint8Array(), publicKey: point, signature: forged })).toBe(false)
    expect(checkEnrolmentKey(point)).not.toBeNull()
    const { publicKey } = generateKeyPair()
    expect(await verdict({ message: new Uint8Array(), publicKey, signature: forged })).toBe(false)
  })

  it('refuses under the identity key what the bare equation takes for every message', async () => {
    const identity = hex(`01${'00'.repeat(31)}`)
    const forged = new Uint8Array([...identity, ...new Uint8Array(32)])
    const text = new TextEncoder().encode('anything')
    expect(await verdict({ message: text, publicKey: identity, signature: forged })).toBe(false)
  })

  it('refuses S + L', async () => {
    const { seed: own, publicKey } = generateKeyPair()
    const signature = signEd25519(new Uint8Array(), own)
    let s = L
    for (let at = 0; at < 32; at++) s += BigInt(signature[32 + at] ?? 0) << BigInt(8 * at)
    const shifted = signature.map((byte, at) =>
      at < 32 ? byte : Number((s >> BigInt(8 * (at - 32))) & 255n),
    )
    expect(await verdict({ message: new Uint8Array(), publicKey, signature: shifted })).toBe(false)
  })

  it('refuses other lengths', async () => {
    const { seed: own, publicKey } = generateKeyPair()
    const signature = signEd25519(new Uint8Array(), own)
    const text = new Uint8Array()
    expect(await verdict({ message: text, publicKey, signature: signature.subarray(1) })).toBe(false)
    expect(await verdict({ message: text, publicKey, signature: new Uint8Array([...signature, 0]) })).toBe(
      false,
    )
    expect(await verdict({ message: text, publicKey: publicKey.subarray(1), signature })).toBe(false)
  })
})

describe('a key that is to be enrolled', () => {
  it('is an ordinary one', () => {
    expect(checkEnrolmentKey(generateKeyPair().publicKey)).toBeNull()
  })

  it('is not one with a part of small order, off the curve, not canonical, or short', () => {
    const honest = Point.fromBytes(generateKeyPair().publicKey)
    const torsion = Point.fromHex(SMALL_ORDER[10] ?? '')
    expect(checkEnrolmentKey(honest.add(torsion).toBytes())).toBe('mixed_order')
    expect(checkEnrolmentKey(torsion.toBytes())).toBe('small_order')
    expect(checkEnrolmentKey(hex(`02${'00'.repeat(31)}`))).toBe('encoding')
    expect(checkEnrolmentKey(hex('ff'.repeat(32)))).toBe('encoding')
    expect(checkEnrolmentKey(new Uint8Array(31))).toBe('length')
  })
})

describe('keys and seeds', () => {
  it('name a key by its SPKI', () => {
    const publicKey = parsePublicKey('Bv4AkD190E5NsHMyqCXYRh01opoTVYFheEMq5znCuv4=\n')
    expect(publicKey).not.toBeNull()
    if (publicKey === null) return
    expect(keyId(publicKey)).toBe('ed25519:WsPVHxGMHTiet2HUggHEik68UE1-YsPZK4XrdAx771U')
    expect(isKeyId(keyId(publicKey))).toBe(true)
    expect(isKeyId('ed25519:web-1')).toBe(false)
    expect(publicKeyOfSpki(spkiOf(publicKey))).toEqual(publicKey)
    expect(publicKeyOfSpki(new Uint8Array(44))).toBeNull()
    expect(parsePublicKey(renderPublicKey(publicKey))).toEqual(publicKey)
  })

  it('read and write the key files of the original', () => {
    fc.assert(
      fc.property(seed, fc.constantFrom('', ' ', '\n', '\r\n'), (own, space) => {
        const read = parseSeed(space + renderSeed(own) + space)
        expect(read === null ? null : publicKeyOfSeed(read)).toEqual(publicKeyOfSeed(own))
      }),
      { numRuns: 20 },
    )
    for (const text of ['', 'AAAA', `${'A'.repeat(43)}`, `${'A'.repeat(42)}B=`, 'x'.repeat(44)]) {
      expect(parseSeed(text)).toBeNull()
    }
  })

  it('do not show a seed', () => {
    const { seed: own } = generateKeyPair(() => new Uint8Array(32).fill(7))
    const shown = `${own} ${JSON.stringify({ own })} ${inspect(own)} ${inspect({ deep: [own] })}`
    expect(shown).not.toContain(renderSeed(own).slice(0, 8))
    expect(shown.match(/secret Ed25519 seed/g)).toHaveLength(4)
    expect(Object.keys(own)).toEqual([])
  })
})

function hex(text: string): Uint8Array {
  return decodeHex(text) ?? new Uint8Array()
}
