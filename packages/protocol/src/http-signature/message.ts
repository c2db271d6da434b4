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
  return value.replace(/[ \t]*\r?\n[ \t]+/g, ' ').replace(/^[ \t]+|[ \t]+$/g, '')
}
