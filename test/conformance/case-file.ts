import { readFile } from 'node:fs/promises'

/** One line of output: what the product's verifier said about one case. */
export type Answer = { readonly id: string | number; readonly accept: boolean; readonly code: string }

/** A JSON object of a case file. Members are read by name and type; what has another type counts as absent. */
export class Facts {
  readonly #members: ReadonlyMap<string, unknown>

  constructor(value: unknown) {
    const entries =
      typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.entries(value) : []
    this.#members = new Map(entries)
  }

  value(...names: readonly string[]): unknown {
    return names.map((name) => this.#members.get(name)).find((value) => value !== undefined && value !== null)
  }

  text(...names: readonly string[]): string | undefined {
    return names.map((name) => this.#members.get(name)).find((value) => typeof value === 'string')
  }

  number(...names: readonly string[]): number | undefined {
    return names.map((name) => this.#members.get(name)).find((value) => typeof value === 'number')
  }

  flag(...names: readonly string[]): boolean | undefined {
    return names.map((name) => this.#members.get(name)).find((value) => typeof value === 'boolean')
  }

  object(...names: readonly string[]): Facts {
    return new Facts(this.value(...names))
  }

  list(...names: readonly string[]): readonly unknown[] {
    const value = this.value(...names)
    return Array.isArray(value) ? value : []
  }

  texts(...names: readonly string[]): readonly string[] {
    return this.list(...names).filter((value) => typeof value === 'string')
  }

  names(): readonly string[] {
    return [...this.#members.keys()]
  }

  /** Seconds since the epoch or an RFC 3339 text. */
  instant(...names: readonly string[]): Date | undefined {
    const value = this.value(...names)
    if (typeof value === 'number') return new Date(value * 1000)
    const at = typeof value === 'string' ? Date.parse(value) : Number.NaN
    return Number.isNaN(at) ? undefined : new Date(at)
  }

  /** `[[name, value], …]`, or an object whose values are texts or lists of texts. */
  fields(...names: readonly string[]): readonly (readonly [string, string])[] {
    const value = this.value(...names)
    const pairs: readonly (readonly [unknown, unknown])[] = Array.isArray(value)
      ? value.map((pair) => (Array.isArray(pair) ? [pair[0], pair[1]] : [undefined, undefined]))
      : new Facts(value).#pairs()
    return pairs.flatMap(([name, text]) =>
      typeof name === 'string' && typeof text === 'string' ? [[name, text]] : [],
    )
  }

  /** The first of `<name>_b64`, `<name>_hex` and `<name>` as bytes; empty when there is none. */
  bytes(name: string): Uint8Array {
    const base64 = this.text(`${name}_b64`)
    if (base64 !== undefined) return new Uint8Array(Buffer.from(base64, 'base64'))
    const hex = this.text(`${name}_hex`)
    if (hex !== undefined) return new Uint8Array(Buffer.from(hex, 'hex'))
    return new TextEncoder().encode(this.text(name) ?? '')
  }

  #pairs(): readonly (readonly [unknown, unknown])[] {
    return [...this.#members].flatMap(([name, value]) =>
      Array.isArray(value) ? value.map((one) => [name, one] as const) : [[name, value] as const],
    )
  }
}

/** A file in which no cases can be found: silence would look like success. */
export class CaseFileError extends Error {}

/**
 * A case with the name under which its answer is printed: its id, or its place in the file.
 * @throws CaseFileError unless the file is a list, or has one under `cases`, `tests` or `vectors`.
 */
export function casesOf(file: unknown): readonly { readonly id: string | number; readonly facts: Facts }[] {
  const list = Array.isArray(file) ? file : new Facts(file).value('cases', 'tests', 'vectors')
  if (!Array.isArray(list)) {
    throw new CaseFileError('it has no cases; it must be a list, or an object with the list "cases"')
  }
  return list.map((value, at) => ({ id: idOf(new Facts(value)) ?? at + 1, facts: new Facts(value) }))
}

export function idOf(facts: Facts): string | number | undefined {
  return facts.text('id', 'name') ?? facts.number('id', 'tcId')
}

export async function readCaseFile(path: string): Promise<unknown> {
  return JSON.parse(await readFile(path, 'utf8'))
}
