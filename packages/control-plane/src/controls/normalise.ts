import type { Normaliser } from '@crystal-forge/protocol'
import { auditRule, effectiveAuditRules } from './audit-rules.ts'
import type { Json } from './json-value.ts'
import { pamArguments, pamControl, pamLine, pamModule } from './pam-lines.ts'
import { sudoDefault, sudoWithoutPassword } from './sudoers-lines.ts'

type Normalised =
  | { readonly ok: true; readonly value: Json }
  /** `missing`: it could be read, and what is asked for is not in it. */
  | { readonly ok: false; readonly because: string; readonly missing: boolean }

/** Applies the normalisers in their order. What cannot be read is said, never guessed. */
export function normalise(value: Json, names: readonly Normaliser[], arg: string | undefined): Normalised {
  if (!isList(value)) return applyAll(value, names, arg)
  const key = `${names.join(' ')}\n${arg ?? ''}`
  const known = NORMALISED.get(value) ?? new Map<string, Normalised>()
  NORMALISED.set(value, known)
  const done = known.get(key) ?? applyAll(value, names, arg)
  known.set(key, done)
  return done
}

/** A score of rules ask about one list, above all the audit rules of a host. A list that was parsed never changes. */
const NORMALISED = new WeakMap<readonly Json[], Map<string, Normalised>>()

function applyAll(value: Json, names: readonly Normaliser[], arg: string | undefined): Normalised {
  let current: Normalised = { ok: true, value }
  for (const name of names) {
    if (!current.ok) return current
    current = apply(name, current.value, arg)
  }
  return current
}

function apply(name: Normaliser, value: Json, arg: string | undefined): Normalised {
  switch (name) {
    case 'text':
      return each(value, fold, 'a text')
    case 'int':
      return each(
        value,
        (text) => whole(text, /^[+-]?[0-9]{1,15}$/, 10),
        'a whole number',
        (number) => number,
      )
    case 'octal':
      return each(value, (text) => whole(text, /^[0-7]{1,8}$/, 8), 'an octal number')
    case 'seconds':
      return each(value, seconds, 'a time span', (number) => number)
    case 'audit-rule':
      return auditRules(value)
    case 'lines':
      return linesOf(value, (line) => line)
    case 'pam':
      return linesOf(value, pamLine)
    case 'pam-module':
      return linesOf(value, pamModule)
    case 'pam-control':
      return linesOf(value, pamControl)
    case 'pam-args':
      return withArg(arg, (asked) => found(value, (lines) => pamArguments(lines, asked), asked))
    case 'kv':
      return keyValue(value, arg)
    case 'kv-all':
      return withArg(arg, (key) => found(value, (lines) => everyValue(lines, key), key))
    case 'limits':
      return limits(value)
    case 'limit-values':
      return withArg(arg, (item) => limitValues(value, item))
    case 'sudo-default':
      return withArg(arg, (name) => found(value, (lines) => sudoDefault(lines, name), name))
    case 'sudo-without-password':
      return found(value, sudoWithoutPassword, '')
  }
}

/** Applies to a text, and to each text of a list. */
function each(
  value: Json,
  read: (text: string) => Json | undefined,
  what: string,
  readNumber?: (number: number) => Json,
): Normalised {
  if (Array.isArray(value)) {
    const parts = value.map((part: Json) => each(part, read, what, readNumber))
    const failed = parts.find((part) => !part.ok)
    return failed ?? ok(parts.flatMap((part) => (part.ok ? [part.value] : [])))
  }
  if (typeof value === 'number' && readNumber !== undefined) return ok(readNumber(value))
  const parsed = typeof value === 'string' ? read(value) : undefined
  return parsed === undefined ? no(`${JSON.stringify(value)} is not ${what}`) : ok(parsed)
}

function fold(text: string): string {
  return text.replace(/[ \t\r\n]+/g, ' ').replace(/^ | $/g, '')
}

function whole(text: string, shape: RegExp, base: number): number | undefined {
  return shape.test(text) ? Number.parseInt(text, base) : undefined
}

/** Time spans of systemd down to the second: `90`, `10min`, `1h 30m`. */
function seconds(text: string): number | undefined {
  let total = 0
  for (const word of fold(text)
    .replace(/([0-9]) +([a-z])/g, '$1$2')
    .split(' ')) {
    const [, count, unit] = /^([0-9]{1,9})([a-z]*)$/.exec(word) ?? []
    const size = SECONDS.get(unit ?? '')
    if (count === undefined || size === undefined) return undefined
    total += Number.parseInt(count, 10) * size
  }
  return total
}

const SECONDS: ReadonlyMap<string, number> = new Map([
  ['', 1],
  ['s', 1],
  ['sec', 1],
  ['second', 1],
  ['seconds', 1],
  ['m', 60],
  ['min', 60],
  ['minute', 60],
  ['minutes', 60],
  ['h', 3600],
  ['hr', 3600],
  ['hour', 3600],
  ['hours', 3600],
  ['d', 86_400],
  ['day', 86_400],
  ['days', 86_400],
  ['w', 604_800],
  ['week', 604_800],
  ['weeks', 604_800],
])

function linesOf(value: Json, read: (line: string) => string): Normalised {
  const texts: readonly Json[] = Array.isArray(value) ? value : [value]
  const lines: string[] = []
  for (const text of texts) {
    if (typeof text !== 'string') return no(`${JSON.stringify(text)} is not a text`)
    lines.push(
      ...text
        .split('\n')
        .map(fold)
        .filter((line) => line !== '' && !line.startsWith('#')),
    )
  }
  return ok(lines.map(read))
}

/** `key = value`, `key=value` or `key value`; comments and headings of sections count for nothing, the last line wins. */
function keyValue(value: Json, arg: string | undefined): Normalised {
  if (arg === undefined) return no('no key is named')
  const lines = linesOf(value, (line) => line)
  if (!lines.ok || !Array.isArray(lines.value)) return lines
  let last: string | undefined
  for (const line of lines.value) {
    if (typeof line !== 'string' || /^[;[]/.test(line)) continue
    const sign = line.indexOf(line.includes('=') ? '=' : ' ')
    const key = sign < 0 ? line : line.slice(0, sign)
    if (fold(key) === arg) last = sign < 0 ? '' : unquoted(fold(line.slice(sign + 1)))
  }
  return last === undefined ? notThere(`the key ${arg}`) : ok(last)
}

/** Every value that is given to a key, whatever the case of its letters; `key value` or `key=value`. */
function everyValue(lines: readonly string[], key: string): readonly string[] {
  return lines.flatMap((line) => {
    const [, name, value] = /^([^ =]+)(?: ?= ?| )(.*)$/s.exec(line) ?? []
    return name?.toLowerCase() === key.toLowerCase() && value !== undefined ? [unquoted(value)] : []
  })
}

const unquoted = (text: string): string => text.replace(/^"(.*)"$/s, '$1')

/** Entries of `security.pam.loginLimits` as lines that `kv` reads; `-` is both kinds. */
function limits(value: Json): Normalised {
  const entries = limitEntries(value)
  if (entries === null) return no('not a list of limits')
  return ok(
    entries.flatMap(({ domain, type, item, limit }) =>
      (type === '-' ? ['soft', 'hard'] : [type]).map((one) => `${domain} ${one} ${item}=${limit}`),
    ),
  )
}

/** What is the hard limit of an item, for whomever, of each the last; none is -1. */
function limitValues(value: Json, item: string): Normalised {
  const entries = limitEntries(value)
  if (entries === null) return no('not a list of limits')
  const hard = entries.filter((one) => one.item === item && one.type !== 'soft')
  const values = new Map(hard.map(({ domain, limit }) => [domain, limit]))
  if (values.size === 0) return notThere(item)
  return ok([...values.values()].map((limit) => (/^(unlimited|infinity)$/.test(limit) ? '-1' : limit)))
}

type LimitEntry = Readonly<Record<'domain' | 'type' | 'item' | 'limit', string>>

/** The option is a list of entries; a host shows `domain type item` and its value. */
function limitEntries(value: Json): readonly LimitEntry[] | null {
  if (value === null || typeof value !== 'object') return null
  if (!isList(value))
    return Object.entries(value).map(([name, limit]) => {
      const [domain = '', type = '', item = ''] = name.split(' ')
      return { domain, type, item, limit: String(limit) }
    })
  const entries = value.map((entry) => {
    if (entry === null || typeof entry !== 'object' || isList(entry)) return null
    const { domain, type, item, value: limit } = entry
    return { domain: String(domain), type: String(type), item: String(item), limit: String(limit) }
  })
  return entries.every((entry) => entry !== null) ? entries : null
}

/** A list is what is recorded under all of its rules together. */
function auditRules(value: Json): Normalised {
  const single = each(value, auditRule, 'an audit rule')
  if (!single.ok || !isList(value)) return single
  return ok(effectiveAuditRules(value.filter((one) => typeof one === 'string')))
}

function withArg(arg: string | undefined, read: (arg: string) => Normalised): Normalised {
  return arg === undefined ? no('no key is named') : read(arg)
}

/** What `read` finds in the lines of a text or of a list of them; `null` is nothing. */
function found(
  value: Json,
  read: (lines: readonly string[]) => readonly string[] | null,
  what: string,
): Normalised {
  const lines = linesOf(value, (line) => line)
  if (!lines.ok || !isList(lines.value)) return lines
  const values = read(lines.value.filter((line) => typeof line === 'string'))
  return values === null ? notThere(what) : ok([...values])
}

const isList = (value: Json): value is readonly Json[] => Array.isArray(value)
const ok = (value: Json): Normalised => ({ ok: true, value })
const no = (because: string): Normalised => ({ ok: false, because, missing: false })
const notThere = (what: string): Normalised => ({ ok: false, because: `${what} is not set`, missing: true })
