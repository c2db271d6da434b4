/** Why a text was refused. `syntax` includes trailing data and a byte order mark. */
export type StrictJsonFault =
  | 'invalid_utf8'
  | 'syntax'
  | 'duplicate_key'
  | 'forbidden_key'
  | 'lone_surrogate'
  | 'number_range'
  | 'too_deep'

export class StrictJsonError extends Error {
  readonly code: StrictJsonFault

  constructor(code: StrictJsonFault, at: number) {
    super(`JSON refused: ${WORDS[code]} at character ${at}`)
    this.name = 'StrictJsonError'
    this.code = code
  }
}

/**
 * Parses JSON that two parsers cannot read in two ways: UTF-8 only, no repeated member, no member named `__proto__`,
 * `constructor` or `prototype`, no lone surrogate, no number beyond a double, bounded depth, nothing after the value.
 * @returns plain data (objects, arrays, strings, numbers, booleans, null).
 * @throws StrictJsonError
 */
export function parseStrictJson(bytes: Uint8Array, options: { readonly depthMax?: number } = {}): unknown {
  return new Reader(decodeUtf8(bytes), options.depthMax ?? 32).document()
}

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return UTF8.decode(bytes)
  } catch {
    throw new StrictJsonError('invalid_utf8', 0)
  }
}

class Reader {
  readonly #text: string
  readonly #depthMax: number
  #at = 0

  constructor(text: string, depthMax: number) {
    this.#text = text
    this.#depthMax = depthMax
  }

  document(): unknown {
    this.#skipSpace()
    const value = this.#value(0)
    this.#skipSpace()
    if (this.#at !== this.#text.length) throw this.#fault('syntax')
    return value
  }

  #value(depth: number): unknown {
    switch (this.#text.charCodeAt(this.#at)) {
      case OPEN_BRACE:
        return this.#object(depth + 1)
      case OPEN_BRACKET:
        return this.#array(depth + 1)
      case QUOTE:
        return this.#string()
      case 0x74:
        return this.#word('true', true)
      case 0x66:
        return this.#word('false', false)
      case 0x6e:
        return this.#word('null', null)
      default:
        return this.#number()
    }
  }

  #object(depth: number): unknown {
    if (depth > this.#depthMax) throw this.#fault('too_deep')
    const result: Record<string, unknown> = {}
    this.#at++
    this.#skipSpace()
    if (this.#take(CLOSE_BRACE)) return result
    for (;;) {
      if (this.#text.charCodeAt(this.#at) !== QUOTE) throw this.#fault('syntax')
      const key = this.#string()
      if (FORBIDDEN_KEYS.has(key)) throw this.#fault('forbidden_key')
      if (Object.hasOwn(result, key)) throw this.#fault('duplicate_key')
      this.#skipSpace()
      if (!this.#take(COLON)) throw this.#fault('syntax')
      this.#skipSpace()
      result[key] = this.#value(depth)
      this.#skipSpace()
      if (this.#take(CLOSE_BRACE)) return result
      if (!this.#take(COMMA)) throw this.#fault('syntax')
      this.#skipSpace()
    }
  }

  #array(depth: number): unknown {
    if (depth > this.#depthMax) throw this.#fault('too_deep')
    const result: unknown[] = []
    this.#at++
    this.#skipSpace()
    if (this.#take(CLOSE_BRACKET)) return result
    for (;;) {
      result.push(this.#value(depth))
      this.#skipSpace()
      if (this.#take(CLOSE_BRACKET)) return result
      if (!this.#take(COMMA)) throw this.#fault('syntax')
      this.#skipSpace()
    }
  }

  /** Finds the closing quote; a string with an escape is then read by `JSON.parse`, which knows them all. */
  #string(): string {
    const start = this.#at + 1
    let escaped = false
    for (let at = start; at < this.#text.length; at++) {
      const unit = this.#text.charCodeAt(at)
      if (unit === QUOTE) {
        this.#at = at + 1
        return escaped ? this.#unescape(start - 1, at + 1) : this.#text.slice(start, at)
      }
      if (unit < 0x20) break
      if (unit === BACKSLASH) {
        escaped = true
        at++
      }
    }
    throw this.#fault('syntax')
  }

  #unescape(start: number, end: number): string {
    let value: unknown
    try {
      value = JSON.parse(this.#text.slice(start, end))
    } catch {
      throw this.#fault('syntax')
    }
    if (typeof value !== 'string') throw this.#fault('syntax')
    if (!value.isWellFormed()) throw this.#fault('lone_surrogate')
    return value
  }

  #number(): number {
    NUMBER.lastIndex = this.#at
    const match = NUMBER.exec(this.#text)
    if (match === null) throw this.#fault('syntax')
    const value = Number(match[0])
    if (!Number.isFinite(value)) throw this.#fault('number_range')
    this.#at += match[0].length
    return value
  }

  #word<Value>(word: string, value: Value): Value {
    if (!this.#text.startsWith(word, this.#at)) throw this.#fault('syntax')
    this.#at += word.length
    return value
  }

  #take(unit: number): boolean {
    if (this.#text.charCodeAt(this.#at) !== unit) return false
    this.#at++
    return true
  }

  #skipSpace(): void {
    for (;;) {
      const unit = this.#text.charCodeAt(this.#at)
      if (unit !== 0x20 && unit !== 0x0a && unit !== 0x0d && unit !== 0x09) return
      this.#at++
    }
  }

  #fault(code: StrictJsonFault): StrictJsonError {
    return new StrictJsonError(code, this.#at)
  }
}

/** `ignoreBOM` keeps a byte order mark in the text, where it is a syntax error. */
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y
const FORBIDDEN_KEYS: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype'])

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c
const COLON = 0x3a
const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d

const WORDS: Readonly<Record<StrictJsonFault, string>> = {
  invalid_utf8: 'the bytes are not UTF-8',
  syntax: 'not well formed',
  duplicate_key: 'a member appears twice',
  forbidden_key: 'a member has a reserved name',
  lone_surrogate: 'a string holds a lone surrogate',
  number_range: 'a number is out of range',
  too_deep: 'nested too deeply',
}
