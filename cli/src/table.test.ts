import { expect, test } from 'vitest'
import { cell, renderTable, safeText } from './table.ts'

test('columns are as wide as their widest cell, and lines end without spaces', () => {
  expect(
    renderTable(
      ['HOST', 'STATE'],
      [
        ['web-1', 'ok'],
        ['a', null],
      ],
    ),
  ).toBe('HOST   STATE\nweb-1  ok\na      -')
})

test.each([
  [null, '-'],
  ['', '-'],
  [[], '-'],
  [['a', 'b'], 'a, b'],
  [0, '0'],
  [false, 'false'],
  ['2026-11-22T19:30:00.412Z', '2026-11-22 19:30:00Z'],
  ['one\ntwo', 'one…'],
  ['x'.repeat(61), `${'x'.repeat(59)}…`],
  ['\u001b[31mred\u0007', '·[31mred·'],
  ['\u202egnp.exe', '·gnp.exe'],
  [{ a: 1 }, '{"a":1}'],
])('%j is shown as %j', (value, text) => {
  expect(cell(value)).toBe(text)
})

test('text of several lines keeps its lines and nothing that a terminal obeys', () => {
  expect(safeText('error:\n\u001b]0;owned\u0007\r\nend')).toBe('error:\n·]0;owned··\nend')
})
