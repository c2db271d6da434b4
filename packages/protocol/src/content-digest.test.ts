import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { contentDigest, matchesContentDigest } from './content-digest.ts'

const body = new TextEncoder().encode('{"hello": "world"}')
const sha256 = 'sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:'
const sha512 =
  'sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:'

describe('Content-Digest', () => {
  it('matches the body of every request it was made for, and no other', () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.uint8Array(), (one, other) => {
        expect(matchesContentDigest(contentDigest(one), one)).toBe(true)
        expect(matchesContentDigest(contentDigest(one), other)).toBe(Buffer.compare(one, other) === 0)
      }),
    )
  })

  it.each([sha256, sha512, `${sha256}, ${sha512}`, `${sha256},md5=:AAAA:`, ` ${sha256}`])(
    'takes %j',
    (field) => {
      expect(matchesContentDigest(field, body)).toBe(true)
    },
  )

  it.each([
    '',
    'md5=:AAAA:',
    `${sha256}, ${sha256}`,
    `${sha256}, sha-512=:AAAA:`,
    `${sha256}, sha-512=?1`,
    `${sha256}, sha-512`,
    sha256.replace('X48', 'X49'),
    sha256.replaceAll(':', '"'),
    sha256.replace('PE=:', 'PF=:'),
    sha256.slice(0, -1),
    sha256.toUpperCase(),
    `sha-256=("${'A'.repeat(43)}=")`,
  ])('refuses %j', (field) => {
    expect(matchesContentDigest(field, body)).toBe(false)
  })

  it('covers an empty body', () => {
    expect(contentDigest(new Uint8Array())).toBe(`sha-256=:${createHash('sha256').digest('base64')}:`)
  })
})
