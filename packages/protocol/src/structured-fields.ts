import { decodeBase64, encodeBase64 } from './base64.ts'

/**
 * RFC 8941 structured fields, strict: a repeated dictionary member or parameter is an error instead of "the last one wins",
 * and a byte sequence must be canonical base64. Two readers of one header cannot see two things.
 */
export type BareItem =
  | { readonly kind: 'integer'; readonly value: number }
  | { readonly kind: 'decimal'; readonly value: number }
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'token'; readonly value: string }
  | { readonly kind: 'bytes'; readonly value: Uint8Array }
  | { readonly kind: 'boolean'; readonly value: boolean }

export type Parameters = ReadonlyMap<string, BareItem>
export type Item = { readonly kind: 'item'; readonly value: BareItem; readonly parameters: Parameters }
export type InnerList = {
  readonly kind: 'inner-list'
  readonly items: readonly Item[]
  readonly parameters: Parameters
}
export type Member = Item | InnerList

/** A text that is not the structured field it should be. */
export class StructuredFieldError extends Error {
  constructor(what: string, at: number) {
    super(`structured field refused: ${what} at character ${at}`)
    this.name = 'StructuredFieldError'
  }
}

/** @throws StructuredFieldError */
export function parseDictionary(text: string): ReadonlyMap<string, Member> {
  return new Reader(text).dictionary()
}

/** @throws StructuredFieldError */
export function parseList(text: string): readonly Member[] {
  return new Reader(text).list()
}

/** @throws StructuredFieldError */
export function parseItem(text: string): Item {
  return new Reader(text).soleItem()
}

export function serializeDictionary(dictionary: ReadonlyMap<string, Member>): string {
  return [...dictionary].map(([key, member]) => key + serializeDictionaryValue(member)).join(', ')
}

export function serializeList(members: readonly Member[]): string {
  return members.map(serializeMember).join(', ')
}

export function serializeMember(member: Member): string {
  if (member.kind === 'item') return serializeBareItem(member.value) + serializeParameters(member.parameters)
  return `(${member.items.map(serializeMember).join(' ')})${serializeParameters(member.parameters)}`
}

export function serializeParameters(parameters: Parameters): string {
  let text = ''
  for (const [key, value] of parameters) {
    text += value.kind === 'boolean' && value.value ? `;${key}` : `;${key}=${serializeBareItem(value)}`
  }
  return text
}

/** @throws RangeError for a value that RFC 8941 cannot carry. */
export function serializeBareItem(item: BareItem): string {
  switch (item.kind) {
    case 'integer':
      return serializeInteger(item.value)
    case 'decimal':
      return serializeDecimal(item.value)
    case 'string':
      if (UNESCAPED.test(item.value)) return `"${item.value}"`
      if (!/^[\x20-\x7e]*$/.test(item.value)) throw new RangeError('a structured string is printable ASCII')
      return `"${item.value.replace(/["\\]/g, '\\$&')}"`
    case 'token':
      return item.value
    case 'bytes':
      return `:${encodeBase64(item.value)}:`
    case 'boolean':
      return item.value ? '?1' : '?0'
  }
}

function serializeDictionaryValue(member: Member): string {
  const bare = member.kind === 'item' && member.value.kind === 'boolean' && member.value.value
  return bare ? serializeParameters(member.parameters) : `=${serializeMember(member)}`
}

function serializeInteger(value: number): string {
  if (!Number.isInteger(value) || Math.abs(value) > INTEGER_MAX)
    throw new RangeError(`not a structured integer: ${value}`)
  return String(value === 0 ? 0 : value)
}

function serializeDecimal(value: number): string {
  return value.toFixed(3).replace(/0{1,2}$/, '')
}

class Reader {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
    this.#skip(SPACE)
  }

  dictionary(): ReadonlyMap<string, Member> {
    const members = new Map<string, Member>()
    while (this.#at < this.#text.length) {
      const key = this.#key()
      if (members.has(key)) throw this.#fault(`member ${key} appears twice`)
      members.set(key, this.#take('=') ? this.#member() : this.#flag())
      if (!this.#another()) break
    }
    return members
  }

  list(): readonly Member[] {
    const members: Member[] = []
    while (this.#at < this.#text.length) {
      members.push(this.#member())
      if (!this.#another()) break
    }
    return members
  }

  soleItem(): Item {
    const item = this.#item()
    this.#skip(SPACE)
    if (this.#at < this.#text.length) throw this.#fault('text after the item')
    return item
  }

  /** Consumes a separating comma; false at the end of the text. A trailing comma is an error. */
  #another(): boolean {
    this.#skip(BLANK)
    if (this.#at >= this.#text.length) return false
    if (!this.#take(',')) throw this.#fault('a comma is missing')
    this.#skip(BLANK)
    if (this.#at >= this.#text.length) throw this.#fault('a trailing comma')
    return true
  }

  #flag(): Item {
    return { kind: 'item', value: { kind: 'boolean', value: true }, parameters: this.#parameters() }
  }

  #member(): Member {
    return this.#text[this.#at] === '(' ? this.#innerList() : this.#item()
  }

  #innerList(): InnerList {
    this.#at++
    const items: Item[] = []
    for (;;) {
      this.#skip(SPACE)
      if (this.#take(')')) return { kind: 'inner-list', items, parameters: this.#parameters() }
      items.push(this.#item())
      const next = this.#text[this.#at]
      if (next !== ' ' && next !== ')') throw this.#fault('items of an inner list are separated by spaces')
    }
  }

  #item(): Item {
    const value = this.#bareItem()
    return { kind: 'item', value, parameters: this.#parameters() }
  }

  #parameters(): Parameters {
    const parameters = new Map<string, BareItem>()
    while (this.#take(';')) {
      this.#skip(SPACE)
      const key = this.#key()
      if (parameters.has(key)) throw this.#fault(`parameter ${key} appears twice`)
      parameters.set(key, this.#take('=') ? this.#bareItem() : { kind: 'boolean', value: true })
    }
    return parameters
  }

  #key(): string {
    return this.#match(KEY, 'a key is missing')
  }

  #bareItem(): BareItem {
    const first = this.#text[this.#at] ?? ''
    if (first === '"') return { kind: 'string', value: this.#string() }
    if (first === ':') return { kind: 'bytes', value: this.#bytes() }
    if (first === '?')
      return { kind: 'boolean', value: this.#match(BOOLEAN, 'a boolean is ?0 or ?1') === '?1' }
    if (/[A-Za-z*]/.test(first)) return { kind: 'token', value: this.#match(TOKEN, 'not a token') }
    return this.#number()
  }

  #string(): string {
    const text = this.#match(STRING, 'not a string')
    const inner = text.slice(1, -1)
    return inner.includes('\\') ? inner.replace(/\\(["\\])/g, '$1') : inner
  }

  #bytes(): Uint8Array {
    const text = this.#match(BYTES, 'not a byte sequence')
    const bytes = decodeBase64(text.slice(1, -1))
    if (bytes === null) throw this.#fault('base64 is not canonical')
    return bytes
  }

  #number(): BareItem {
    const text = this.#match(NUMBER, 'not a bare item')
    const following = this.#text[this.#at] ?? ''
    if (/[0-9.]/.test(following)) throw this.#fault('a number has too many digits')
    return { kind: text.includes('.') ? 'decimal' : 'integer', value: Number(text) }
  }

  #match(pattern: RegExp, otherwise: string): string {
    pattern.lastIndex = this.#at
    const match = pattern.exec(this.#text)
    if (match === null) throw this.#fault(otherwise)
    this.#at += match[0].length
    return match[0]
  }

  #skip(pattern: RegExp): void {
    pattern.lastIndex = this.#at
    this.#at += pattern.exec(this.#text)?.[0].length ?? 0
  }

  #take(character: string): boolean {
    if (this.#text[this.#at] !== character) return false
    this.#at++
    return true
  }

  #fault(what: string): StructuredFieldError {
    return new StructuredFieldError(what, this.#at)
  }
}

/** Printable ASCII without the two characters that are escaped. */
const UNESCAPED = /^[ !#-[\]-~]*$/
const INTEGER_MAX = 999_999_999_999_999
const SPACE = / */y
const BLANK = /[ \t]*/y
const KEY = /[a-z*][a-z0-9_\-.*]*/y
const BOOLEAN = /\?[01]/y
const TOKEN = /[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*/y
const STRING = /"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"/y
const BYTES = /:[A-Za-z0-9+/=]*:/y
/** At most 15 digits, or 12 before and 3 after the point. */
const NUMBER = /-?(?:[0-9]{1,12}\.[0-9]{1,3}|[0-9]{1,15})/y
