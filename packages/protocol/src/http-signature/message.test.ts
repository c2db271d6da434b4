import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fieldLines } from './message.ts'

describe('the lines of a field', () => {
  it('are all of its lines in order, under a name in any case', () => {
    const fields = [
      ['X-A', ' 1 '],
      ['x-b', '2'],
      ['x-a', '\t3'],
    ] as const
    expect(fieldLines(fields, 'x-a')).toEqual(['1', '3'])
  })

  it('are trimmed and unfolded as RFC 9421 section 2.1 says', () => {
    const value = fc.string({ unit: fc.constantFrom('a', ' ', '\t', '\r', '\n'), maxLength: 12 })
    fc.assert(
      fc.property(value, (text) => {
        const plain = text.replace(/[ \t]*\r?\n[ \t]+/g, ' ').replace(/^[ \t]+|[ \t]+$/g, '')
        expect(fieldLines([['x', text]], 'x')).toEqual([plain])
      }),
      { numRuns: 2000 },
    )
  })

  it('take no longer for white space inside', () => {
    // What tries every place of it, as a pattern does, needs minutes for this much.
    const space = ' \t'.repeat(500_000)
    expect(fieldLines([['x', ` a${space}b`]], 'x')).toEqual([`a${space}b`])
    expect(fieldLines([['x', `a${space}b\r\n c`]], 'x')).toEqual([`a${space}b c`])
  })
})
