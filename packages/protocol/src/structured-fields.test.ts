import fc from 'fast-check'
import { parseDictionary as peerDictionary, serializeDictionary as peerSerialize } from 'structured-headers'
import { describe, expect, it } from 'vitest'
import {
  parseDictionary,
  parseItem,
  parseList,
  StructuredFieldError,
  serializeBareItem,
  serializeDictionary,
  serializeList,
  serializeMember,
} from './structured-fields.ts'

describe('structured fields', () => {
  it.each([
    ['a=1, b=2;x=1;y=2, c=(a b c), d', 'a=1, b=2;x=1;y=2, c=(a b c), d'],
    [' a=( "x"   "y" );z ,\tb=?1 ', 'a=("x" "y");z, b'],
    ['a=?0, b=-0, c=1.50, d=007', 'a=?0, b=0, c=1.5, d=7'],
    ['a="q\\"b\\\\", b=:aGk=:, c=*tok/en:x', 'a="q\\"b\\\\", b=:aGk=:, c=*tok/en:x'],
    ['', ''],
  ])('reads %j as %j', (text, canonical) => {
    expect(serializeDictionary(parseDictionary(text))).toBe(canonical)
  })

  it.each([
    'a=1, a=2',
    'a;x;x=1',
    'a=(1);created=1;created=2',
    'a=1,',
    ',a',
    'a=1 b=2',
    'A=1',
    'a=',
    'a=(1',
    'a=("x""y")',
    'a=("x"\t"y")',
    'a="x',
    'a="\u00e4"',
    'a="\\x"',
    'a=:aGk:',
    'a=:aGl=:',
    'a=:a Gk=:',
    'a=1234567890123456',
    'a=1.1234',
    'a=1234567890123.1',
    'a=--1',
    'a=?2',
    'a=@1',
    'a=1;',
    'a=1;X',
  ])('refuses %j', (text) => {
    expect(() => parseDictionary(text)).toThrow(StructuredFieldError)
  })

  it('agrees with a peer on everything the peer writes', () => {
    const key = fc.stringMatching(/^[a-z][a-z0-9_.-]{0,6}$/)
    const bare = fc.oneof(
      fc.integer({ min: -999_999, max: 999_999 }),
      fc.boolean(),
      fc.string({ unit: fc.constantFrom(...' !"#abc\\xyz()<>~') }),
    )
    fc.assert(
      fc.property(fc.dictionary(key, bare, { noNullPrototype: true }), (values) => {
        const text = peerSerialize(
          new Map(Object.entries(values).map(([name, value]) => [name, [value, new Map()]])),
        )
        expect(serializeDictionary(parseDictionary(text))).toBe(text)
        expect(peerDictionary(text).size).toBe(parseDictionary(text).size)
      }),
    )
  })

  it('reads lists and items', () => {
    expect(serializeList(parseList('a, (b c);q=1, "x"'))).toBe('a, (b c);q=1, "x"')
    expect(serializeMember(parseItem('5;a'))).toBe('5;a')
    expect(() => parseItem('5 6')).toThrow(StructuredFieldError)
  })

  it('writes no value that a field cannot carry', () => {
    expect(() => serializeBareItem({ kind: 'string', value: 'ä' })).toThrow(RangeError)
    expect(() => serializeBareItem({ kind: 'integer', value: 1e15 })).toThrow(RangeError)
    expect(() => serializeBareItem({ kind: 'integer', value: 0.5 })).toThrow(RangeError)
  })
})
