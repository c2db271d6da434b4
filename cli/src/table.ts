/**
 * Rows under headings, columns two spaces apart. A cell is one line of at most 60 characters without control characters: text
 * from a commit or a host must not steer the terminal.
 */
export function renderTable(headings: readonly string[], rows: readonly (readonly unknown[])[]): string {
  const lines = [headings, ...rows.map((row) => row.map(cell))]
  const widths = headings.map((_, column) => Math.max(...lines.map((line) => (line[column] ?? '').length)))
  return lines
    .map((line) =>
      line
        .map((text, column) => text.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** A value as a person reads it: `-` for nothing, times without fractions, lists with commas. */
export function cell(value: unknown): string {
  const text = plain(value)
  const [first = ''] = text.split('\n')
  const line = oneLine(first)
  return line.length <= CELL_CHARACTERS_MAX && first === text
    ? line
    : `${line.slice(0, CELL_CHARACTERS_MAX - 1)}…`
}

/** The whole value on one line. */
export function wholeValue(value: unknown): string {
  return oneLine(plain(value))
}

/** Text without anything that a terminal would obey. */
export function oneLine(text: string): string {
  return text.replace(/\p{C}/gu, '·')
}

/** Several lines of text, each of them harmless. */
export function safeText(text: string): string {
  return text.split('\n').map(oneLine).join('\n')
}

function plain(value: unknown): string {
  if (value === null || value === undefined || value === '') return '-'
  if (typeof value === 'string') return value.replace(TIME, '$1 $2Z')
  if (Array.isArray(value)) return value.length === 0 ? '-' : value.map(plain).join(', ')
  if (typeof value === 'object') return JSON.stringify(value)
  return String(value)
}

const TIME = /^([0-9]{4}-[0-9]{2}-[0-9]{2})T([0-9]{2}:[0-9]{2}:[0-9]{2})\.[0-9]{3}Z$/
const CELL_CHARACTERS_MAX = 60
