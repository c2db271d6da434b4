import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeNixBase32, encodeNixBase32 } from './nix-base32.ts'
import { hexOfHash, nix32OfHash, parseNixSha256, sha256ToNix32, sriOfHash } from './nix-hash.ts'

/** SHA-256 of nothing, as `nix hash` prints it. */
const EMPTY = {
  hex: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  nix32: 'sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73',
  sri: 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=',
}

describe('Nix base 32', () => {
  it('gives back every byte string of 20 and 32 bytes', () => {
    for (const length of [20, 32]) {
      fc.assert(
        fc.property(fc.uint8Array({ minLength: length, maxLength: length }), (bytes) => {
          expect(decodeNixBase32(encodeNixBase32(bytes), length)).toEqual(bytes)
        }),
      )
    }
  })

  it('has one spelling for each byte string', () => {
    fc.assert(
      fc.property(
        fc.string({ minLength: 52, maxLength: 52, unit: fc.constantFrom(...'019abcxyz') }),
        (text) => {
          const bytes = decodeNixBase32(text, 32)
          expect(bytes === null || encodeNixBase32(bytes) === text).toBe(true)
        },
      ),
    )
  })

  it('refuses foreign letters, other lengths and bits that no byte holds', () => {
    const good = EMPTY.nix32.slice(7)
    for (const text of [
      good.replace('m', 'e'),
      good.toUpperCase(),
      good.slice(1),
      `0${good}`,
      `2${good.slice(1)}`,
    ]) {
      expect(decodeNixBase32(text, 32)).toBeNull()
    }
  })
})

describe('SHA-256 in the spellings of Nix', () => {
  it('reads and writes all of them', () => {
    for (const text of [EMPTY.nix32, EMPTY.sri, `sha256:${EMPTY.hex}`]) {
      expect(nix32OfHash(text)).toBe(EMPTY.nix32)
      expect(sriOfHash(text)).toBe(EMPTY.sri)
      expect(hexOfHash(text)).toBe(EMPTY.hex)
    }
  })

  it.each([
    '',
    'sha256:',
    'sha256-',
    'sha1:abc',
    'md5-x',
    `sha512-${EMPTY.sri.slice(7)}`,
    `sha256:${EMPTY.hex}0`,
  ])('refuses %j', (text) => {
    expect(parseNixSha256(text)).toBeNull()
    expect(() => sriOfHash(text)).toThrow(RangeError)
  })

  it('does not print what is not a SHA-256', () => {
    expect(() => sha256ToNix32(new Uint8Array(31))).toThrow(RangeError)
  })
})
