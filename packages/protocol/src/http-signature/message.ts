/** Header fields in the order received, one pair a line; names in any case. */
export type Fields = readonly (readonly [name: string, value: string])[]

/** A request as it arrived. `target` is path and query; `authority` is the Host header, never a forwarded one. */
export type RequestMessage = {
  readonly method: string
  readonly authority: string
  readonly target: string
  readonly fields: Fields
}

/** A request with the exact bytes of its body (decoded from base64 when a gateway encoded them). */
export type SignedRequest = RequestMessage & { readonly body: Uint8Array }

export type ResponseMessage = { readonly status: number; readonly fields: Fields }

/** The values of all lines of a field in order, surrounding white space removed, folded lines joined by one space. */
export function fieldLines(fields: Fields, name: string): readonly string[] {
  const lines: string[] = []
  for (const [given, value] of fields) {
    if (given.length === name.length && given.toLowerCase() === name) lines.push(trimField(value))
  }
  return lines
}

/** Lower case, without the port that https implies. */
export function normalAuthority(authority: string): string {
  return authority.toLowerCase().replace(/:443$/, '')
}

/** Path and query of an origin-form target; the query keeps its question mark. */
export function splitTarget(target: string): { readonly path: string; readonly query: string } {
  const mark = target.indexOf('?')
  return mark < 0 ? { path: target, query: '' } : { path: target.slice(0, mark), query: target.slice(mark) }
}

function trimField(value: string): string {
  if (!/^[ \t]|[ \t]$|\n/.test(value)) return value
  return trimStart(trimEnd(value.includes('\n') ? unfold(value) : value))
}

/** A line that begins with white space continues the one before it; a line end without that stays, for others to refuse. */
function unfold(value: string): string {
  const lines = value.split('\n')
  const continues = (at: number) => isBlank(lines[at]?.charCodeAt(0))
  return lines
    .map((line, at) => {
      const text = at > 0 && continues(at) ? trimStart(line) : line
      if (continues(at + 1)) return `${trimEnd(text.endsWith('\r') ? text.slice(0, -1) : text)} `
      return at + 1 < lines.length ? `${text}\n` : text
    })
    .join('')
}

/** By hand, because a pattern for the white space at an end tries every place where some stands. */
function trimStart(text: string): string {
  let start = 0
  while (isBlank(text.charCodeAt(start))) start++
  return text.slice(start)
}

function trimEnd(text: string): string {
  let end = text.length
  while (isBlank(text.charCodeAt(end - 1))) end--
  return text.slice(0, end)
}

function isBlank(unit: number | undefined): boolean {
  return unit === 0x20 || unit === 0x09
}
