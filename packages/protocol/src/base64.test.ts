import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  decodeBase64,
  decodeBase64Either,
  decodeBase64Url,
  decodeHex,
  encodeBase64,
  encodeBase64Url,
  encodeHex,
} from './base64.ts'

describe('base64', () => {
  it('gives back every byte string in all spellings', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        expect(decodeBase64(encodeBase64(bytes))).toEqual(bytes)
        expect(decodeBase64Url(encodeBase64Url(bytes))).toEqual(bytes)
        expect(decodeHex(encodeHex(bytes))).toEqual(bytes)
        const urlSafe = encodeBase64(bytes).replaceAll('+', '-').replaceAll('/', '_')
        expect(decodeBase64Either(urlSafe)).toEqual(bytes)
      }),
    )
  })

  it.each(['AA', 'AA=', 'AB==', 'AA==\n', ' AA==', 'A A==', 'AA==AA==', 'AA=*', '_-8=', 'AAA'])(
    'refuses the spelling %j',
    (text) => {
      expect(decodeBase64(text)).toBeNull()
    },
  )

  it('refuses a mixture of the two alphabets', () => {
    expect(decodeBase64Either('+_8=')).toBeNull()
  })

  it.each(['0', '0g', 'zz', '0x00'])('refuses the hex %j', (text) => {
    expect(decodeHex(text)).toBeNull()
  })
})
