import { jobResult } from '@crystal-forge/protocol'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { failed, oneLine, printable } from './failed.ts'

const anyText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 300 }),
  fc.string({ unit: fc.constantFrom('\u{1f600}', '\u0000', '\u001b[31m', '\n', 'é', 'x'), maxLength: 300 }),
)

test('any text of a program fits into a result, and never ends inside a character', () => {
  fc.assert(
    fc.property(anyText, anyText, fc.integer({ min: 1, max: 200 }), (message, log, cut) => {
      const result = failed('build', message, log)
      expect(jobResult.safeParse({ v: 1, fence: 1, result }).success).toBe(true)
      for (const text of [printable(message, cut), printable(message, -cut), oneLine(message, cut)]) {
        expect(text).not.toMatch(/\p{Cs}|\0/u)
        expect(text.length).toBeLessThanOrEqual(cut)
      }
      expect(oneLine(message, cut)).toMatch(/^\P{Cc}*$/u)
    }),
  )
})

test('of a long log the end is kept, of a long message the beginning', () => {
  const result = failed('build', `begin${'x'.repeat(5000)}`, `${'x'.repeat(70_000)}end`)
  expect(result).toMatchObject({
    message: expect.stringMatching(/^beginx/),
    log_tail: expect.stringMatching(/xend$/),
  })
})
