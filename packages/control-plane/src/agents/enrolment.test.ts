import { expect, test } from 'vitest'
import { isForHost, namesOneHost } from './enrolment.ts'

test.each([
  ['web-1', 'web-1', true],
  ['web-1', 'WEB-1', true],
  ['web-1', 'web-10', false],
  ['web-*', 'web-1', true],
  ['web-*', 'web-', false],
  ['web-*', 'web-1.example.com', false],
  ['*.example.com', 'web-1.example.com', true],
  ['*.example.com', 'a.b.example.com', false],
  ['*', 'web-1', true],
  ['*', 'a.b', false],
  ['w.b', 'wxb', false],
  ['a*b*c', 'axxbyyc', true],
  ['*'.repeat(120), 'a'.repeat(119), false],
  ['*'.repeat(120), 'a'.repeat(250), true],
])('a token for %s and the host %s: %s', (pattern, hostname, expected) => {
  expect(isForHost(pattern, hostname)).toBe(expected)
})

test('only a token without a pattern names one host', () => {
  expect([namesOneHost('web-1'), namesOneHost('web-*')]).toEqual([true, false])
})
