import { remembered } from './remembered.ts'

/**
 * Rules of auditctl(8) in one spelling: keys are ignored; syscalls, fields and permissions are put in order; a watch that is
 * written as `-F path=` is `-w`.
 */
export function auditRule(text: string): string {
  return spell(parse(text))
}

/**
 * What is recorded under a list of rules. The first rule that matches decides, so one that says `never` takes away what it
 * covers of those behind it; `-a never,task` without conditions leaves no event to record, and `-D` deletes what stands before.
 */
export function effectiveAuditRules(texts: readonly string[]): readonly string[] {
  const before: Rule[] = []
  const behind: Rule[] = []
  for (const rule of texts.map(parse)) {
    if (rule.parts.includes('-D')) before.length = behind.length = 0
    else (rule.first ? before : behind).push(rule)
  }
  const listed = [...before.reverse(), ...behind]
  const noTask = listed.some((rule) => rule.parts.length === 1 && rule.parts[0] === '-a never,task')
  const never: Rule[] = []
  const recorded: Rule[] = []
  for (const rule of listed) {
    const isNever = rule.parts.includes('-a exit,never')
    if (isNever) never.push(rule)
    const nothing = noTask || never.length > NEVER_MAX
    const left = isNever || !records(rule) ? rule : never.reduce<Rule | null>(without, nothing ? null : rule)
    if (left !== null) recorded.push(left)
  }
  return recorded.map(spell)
}

type Rule = {
  /** `-A` puts it before all others. */
  readonly first: boolean
  readonly parts: readonly string[]
  /** None: it is about all. */
  readonly syscalls: readonly string[]
}

function records({ parts }: Rule): boolean {
  return parts.some((part) => part.startsWith('-a ') || part.startsWith('-w '))
}

/** What is left of a rule behind one that says `never`; null when nothing is, or when only a part of its events would be recorded. */
function without(rule: Rule | null, never: Rule): Rule | null {
  if (rule === null) return null
  const architecture = rule.parts.find((part) => part.startsWith('-F arch='))
  const covers = never.parts
    .filter((part) => !part.startsWith('-a '))
    .every((part) =>
      part.startsWith('-F arch=') && architecture === undefined ? true : rule.parts.includes(part),
    )
  if (!covers) return rule
  if (never.syscalls.length === 0 || rule.syscalls.length === 0) return null
  const left = rule.syscalls.filter((name) => !never.syscalls.includes(name))
  return left.length === 0 ? null : { ...rule, syscalls: left }
}

function spell({ parts, syscalls }: Rule): string {
  const all = syscalls.length === 0 ? parts : [...parts, `-S ${syscalls.join(',')}`]
  return [...all].sort(byBytes).join(' ')
}

const parse = remembered((text: string): Rule => {
  const syscalls: string[] = []
  const parts: string[] = []
  const words = text.split(/[ \t\r\n]+/).filter((word) => word !== '')
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at] ?? ''
    const next = words[at + 1] ?? ''
    if (!TAKES_A_WORD.has(word)) {
      parts.push(word)
      continue
    }
    at += 1
    if (word === '-k' || next.startsWith('key=')) continue
    if (word === '-S') {
      for (const name of next.split(',')) syscalls.push(name)
    }
    if (word !== '-S') parts.push(`${word === '-A' ? '-a' : word} ${auditWord(word, next)}`)
  }
  const named = syscalls.includes('all') ? [] : syscalls.sort(byBytes)
  return { first: words.includes('-A'), parts: asWatch(parts, named), syscalls: named }
})

/** `-a always,exit -F path=/x -F perm=wa` and `-w /x -p wa` are the same rule; which one is printed depends on the release. */
function asWatch(parts: readonly string[], syscalls: readonly string[]): readonly string[] {
  const place = parts.find((part) => /^-F (path|dir)=/.test(part))
  const permissions = parts.find((part) => part.startsWith('-F perm='))
  const isWatch =
    parts.length === 3 &&
    syscalls.length === 0 &&
    parts.includes('-a always,exit') &&
    place !== undefined &&
    permissions !== undefined
  if (!isWatch) return parts
  const value = (part: string) => part.slice(part.indexOf('=') + 1)
  return [`-w ${auditWord('-w', value(place))}`, `-p ${auditWord('-p', value(permissions))}`]
}

/** Nobody writes as many; behind more of them nothing counts as recorded, because each is held against each rule. */
const NEVER_MAX = 256
const TAKES_A_WORD: ReadonlySet<string> = new Set(['-a', '-A', '-w', '-p', '-k', '-S', '-F', '-C'])

function auditWord(option: string, word: string): string {
  if (option === '-a' || option === '-A') return word.split(',').sort(byBytes).join(',')
  if (option === '-w') return withoutSlashes(word)
  if (option === '-p') return [...word].sort(byBytes).join('')
  return word.replace(/^([a-z]*uid)(!?=)(-1|4294967295)$/, '$1$2unset')
}

/** A path without slashes at its end; of nothing else than slashes nothing is taken. */
function withoutSlashes(path: string): string {
  let end = path.length
  while (end > 0 && path[end - 1] === '/') end -= 1
  return end === 0 ? path : path.slice(0, end)
}

const byBytes = (one: string, other: string): number => (one < other ? -1 : one > other ? 1 : 0)
