import type { Normaliser } from '@crystal-forge/protocol'
import type { Json } from './json-value.ts'

type Normalised =
  | { readonly ok: true; readonly value: Json }
  | { readonly ok: false; readonly because: string }

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
      return each(value, auditRule, 'an audit rule')
    case 'lines':
      return linesOf(value, (line) => line)
    case 'pam':
      return linesOf(value, pamLine)
    case 'pam-module':
      return linesOf(value, pamModule)
    case 'kv':
      return keyValue(value, arg)
    case 'limits':
      return limits(value)
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
  let found: string | undefined
  for (const line of lines.value) {
    if (typeof line !== 'string' || /^[;[]/.test(line)) continue
    const sign = line.indexOf(line.includes('=') ? '=' : ' ')
    const key = sign < 0 ? line : line.slice(0, sign)
    if (fold(key) === arg) found = sign < 0 ? '' : fold(line.slice(sign + 1)).replace(/^"(.*)"$/s, '$1')
  }
  return found === undefined ? no(`the key ${arg} is not set`) : ok(found)
}

/** Entries of `security.pam.loginLimits` as lines that `kv` reads. */
function limits(value: Json): Normalised {
  if (!Array.isArray(value)) return no('not a list of limits')
  const lines: string[] = []
  for (const entry of value) {
    if (entry === null || typeof entry !== 'object' || Array.isArray(entry)) return no('not a list of limits')
    const { domain, type, item, value: limit } = entry
    lines.push(`${domain} ${type} ${item}=${limit}`)
  }
  return ok(lines)
}

/** One line of a PAM stack: the module without its directory, comments dropped, arguments in order of the alphabet. */
function pamLine(line: string): string {
  const parsed = parsePamLine(line)
  return parsed === null ? line : [parsed.type, parsed.control, parsed.module, ...parsed.args].join(' ')
}

/** Kind and module alone: where a package lies, or how much a site demands of it, is not what such a rule is about. */
function pamModule(line: string): string {
  const parsed = parsePamLine(line)
  return parsed === null ? line : `${parsed.type} ${parsed.module}`
}

type PamLine = {
  readonly type: string
  readonly control: string
  readonly module: string
  readonly args: readonly string[]
}

function parsePamLine(line: string): PamLine | null {
  const comment = line.indexOf('#')
  const [, type, control, module, rest = ''] =
    /^([^ ]+) (\[[^\]]*\]|[^ ]+) ([^ ]+)(.*)$/s.exec(fold(comment < 0 ? line : line.slice(0, comment))) ?? []
  if (type === undefined || control === undefined || module === undefined) return null
  const args = rest.split(' ').filter((argument) => argument !== '')
  return { type, control, module: module.slice(module.lastIndexOf('/') + 1), args: args.sort(byBytes) }
}

/** Keys are ignored; syscalls, fields and permissions are put in order. */
function auditRule(text: string): string {
  const syscalls: string[] = []
  const parts: string[] = []
  const words = fold(text).split(' ')
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at] ?? ''
    const next = words[at + 1] ?? ''
    if (!TAKES_A_WORD.has(word)) {
      parts.push(word)
      continue
    }
    at += 1
    if (word === '-k' || next.startsWith('key=')) continue
    if (word === '-S') syscalls.push(...next.split(','))
    else parts.push(`${word} ${auditWord(word, next)}`)
  }
  const all = syscalls.length === 0 ? parts : [...parts, `-S ${syscalls.sort(byBytes).join(',')}`]
  return all.sort(byBytes).join(' ')
}

const TAKES_A_WORD: ReadonlySet<string> = new Set(['-a', '-A', '-w', '-p', '-k', '-S', '-F', '-C'])

function auditWord(option: string, word: string): string {
  if (option === '-a' || option === '-A') return word.split(',').sort(byBytes).join(',')
  if (option === '-w') return word.length > 1 ? withoutSlashes(word) : word
  if (option === '-p') return [...word].sort(byBytes).join('')
  return word.replace(/^([a-z]*uid)(!?=)(-1|4294967295)$/, '$1$2unset')
}

function withoutSlashes(path: string): string {
  let end = path.length
  while (path.endsWith('/', end)) end -= 1
  return path.slice(0, end)
}

const isList = (value: Json): value is readonly Json[] => Array.isArray(value)
const byBytes = (one: string, other: string): number => (one < other ? -1 : one > other ? 1 : 0)
const ok = (value: Json): Normalised => ({ ok: true, value })
const no = (because: string): Normalised => ({ ok: false, because })
