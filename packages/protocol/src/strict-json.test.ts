import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseStrictJson, StrictJsonError } from './strict-json.ts'

const parse = (text: string, depthMax?: number) =>
  parseStrictJson(new TextEncoder().encode(text), depthMax === undefined ? {} : { depthMax })

function fault(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    if (error instanceof StrictJsonError) return error.code
    throw error
  }
  return 'accepted'
}

describe('strict JSON', () => {
  it('reads what JSON.parse reads, with and without white space', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), fc.constantFrom('', ' ', '\n\t'), (value, space) => {
        const text = JSON.stringify(value, null, space)
        fc.pre(fault(() => parse(text)) !== 'forbidden_key' && fault(() => parse(text)) !== 'lone_surrogate')
        expect(parse(text)).toEqual(JSON.parse(text))
      }),
    )
  })

  it('accepts no text that JSON.parse refuses', () => {
    const character = fc.constantFrom(...'{}[]":,\\ntrfalsu0123456789.eE+- \n')
    fc.assert(
      fc.property(fc.string({ unit: character, maxLength: 12 }), (text) => {
        const accepted = fault(() => parse(text)) === 'accepted'
        expect(accepted && isNotJson(text)).toBe(false)
      }),
      { numRuns: 2000 },
    )
  })

  it.each([
    ['', 'syntax'],
    [' ', 'syntax'],
    ['{} x', 'syntax'],
    ['{}{}', 'syntax'],
    ['\ufeff{}', 'syntax'],
    ['{"a":1,}', 'syntax'],
    ['[1,]', 'syntax'],
    ['[1 2]', 'syntax'],
    ["{'a':1}", 'syntax'],
    ['{a:1}', 'syntax'],
    ['{"a"}', 'syntax'],
    ['01', 'syntax'],
    ['+1', 'syntax'],
    ['.5', 'syntax'],
    ['1.', 'syntax'],
    ['NaN', 'syntax'],
    ['truest', 'syntax'],
    ['"\t"', 'syntax'],
    ['"\\x41"', 'syntax'],
    ['"abc', 'syntax'],
    ['"abc\\', 'syntax'],
    ['1e999', 'number_range'],
    ['{"a":1,"a":1}', 'duplicate_key'],
    ['{"a":1,"\\u0061":2}', 'duplicate_key'],
    ['{"b":{"a":1,"c":2,"a":3}}', 'duplicate_key'],
    ['{"__proto__":{}}', 'forbidden_key'],
    ['{"\\u005f_proto__":{}}', 'forbidden_key'],
    ['{"a":{"constructor":1}}', 'forbidden_key'],
    ['{"prototype":1}', 'forbidden_key'],
    ['"\\ud800"', 'lone_surrogate'],
    ['{"\\udc00x":1}', 'lone_surrogate'],
    ['"\\ude00\\ud83d"', 'lone_surrogate'],
    ['['.repeat(33), 'too_deep'],
    ['{"a":'.repeat(33), 'too_deep'],
  ])('refuses %j as %s', (text, code) => {
    expect(fault(() => parse(text))).toBe(code)
  })

  it('refuses bytes that are not UTF-8, also those of a surrogate', () => {
    for (const bytes of [
      [0x22, 0xff, 0x22],
      [0x22, 0xed, 0xa0, 0x80, 0x22],
      [0x22, 0xc0, 0xaf, 0x22],
    ]) {
      expect(fault(() => parseStrictJson(new Uint8Array(bytes)))).toBe('invalid_utf8')
    }
  })

  it('reads 32 levels and pairs of surrogates', () => {
    expect(fault(() => parse('['.repeat(32) + ']'.repeat(32)))).toBe('accepted')
    expect(parse('"\\ud83d\\ude00"')).toBe('😀')
    expect(fault(() => parse('[[[]]]', 2))).toBe('too_deep')
  })
})

/** Whether JSON.parse refuses. */
function isNotJson(text: string): boolean {
  try {
    JSON.parse(text)
    return false
  } catch {
    return true
  }
}
