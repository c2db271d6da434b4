import type { Normaliser, Operator } from '@crystal-forge/protocol'
import type { Json } from './json-value.ts'
import { normalise } from './normalise.ts'

export type { Json } from './json-value.ts'

/** `unknown` is never a pass: the value is missing, of the wrong type, or cannot be read. */
export type Verdict =
  | { readonly kind: 'true' | 'false' }
  /** `missing`: there was something to read, and what is asked for was not in it. */
  | { readonly kind: 'unknown'; readonly because: string; readonly missing: boolean }

export type Judged = {
  readonly op: Operator
  /** What was found; `undefined` when there was nothing. */
  readonly actual: Json | undefined
  readonly expected: Json | undefined
  /** For `kv`: the key whose value is compared. */
  readonly arg: string | undefined
  readonly normalise: readonly Normaliser[]
}

/**
 * Whether a found value is what a rule expects. Pure, and the same as `nix/stig/judge.nix`: the vectors of
 * `catalogue/operators.json` run in both.
 */
export function judge(question: Judged): Verdict {
  const { op, actual, expected } = question
  if (op === 'absent') return yesOrNo(actual === undefined || actual === null)
  if (op === 'present') return yesOrNo(actual !== undefined && actual !== null)
  if (actual === undefined) return unknown('nothing was found', true)
  if (expected === undefined) return unknown('nothing is expected')
  const found = normalise(actual, question.normalise, question.arg)
  if (!found.ok) return unknown(found.because, found.missing)
  const wanted = normalise(
    expected,
    question.normalise.filter((name) => !READS_A_FILE.has(name)),
    undefined,
  )
  if (!wanted.ok) return unknown(`expected value: ${wanted.because}`)
  return compare(op, found.value, wanted.value)
}

/** These turn a whole file into the value that is compared; the expected value already is that value. */
const READS_A_FILE: ReadonlySet<Normaliser> = new Set([
  'kv',
  'kv-all',
  'limits',
  'limit-values',
  'pam-args',
  'sudo-default',
  'sudo-without-password',
])

type Compared = Exclude<Operator, 'absent' | 'present'>

function compare(op: Compared, found: Json, wanted: Json): Verdict {
  switch (op) {
    case 'eq':
    case 'ne':
      if (kindOf(found) !== kindOf(wanted)) return mismatch(found, wanted)
      return yesOrNo(same(found, wanted) === (op === 'eq'))
    case 'orderedEq':
      if (!isList(found) || !isList(wanted)) return mismatch(found, wanted)
      return yesOrNo(same(found, wanted))
    case 'in':
      if (!isList(wanted)) return unknown('a list is expected')
      if (!wanted.map(kindOf).includes(kindOf(found))) return mismatch(found, wanted)
      return yesOrNo(has(wanted, found))
    case 'subset':
    case 'contains':
    case 'excludes':
      return compareLists(op, found, wanted)
    case 'le':
    case 'ge':
    case 'between':
      return compareNumbers(op, found, wanted)
    case 'matches':
      if (typeof found !== 'string' || typeof wanted !== 'string') return mismatch(found, wanted)
      return yesOrNo(new RegExp(`^(?:${wanted})$`, 's').test(found))
    case 'bitsWithin':
    case 'bitsCover':
      return compareBits(op, found, wanted)
  }
}

function compareLists(op: 'subset' | 'contains' | 'excludes', found: Json, wanted: Json): Verdict {
  if (!isList(found) || !isList(wanted)) return mismatch(found, wanted)
  if (op === 'subset') return yesOrNo(found.every((one) => has(wanted, one)))
  if (op === 'contains') return yesOrNo(wanted.every((one) => has(found, one)))
  return yesOrNo(!wanted.some((one) => has(found, one)))
}

/** Each element of a list is judged. */
function compareNumbers(op: 'le' | 'ge' | 'between', found: Json, wanted: Json): Verdict {
  const values = isList(found) ? found : [found]
  if (!values.every((value) => typeof value === 'number')) return mismatch(found, wanted)
  if (op === 'between') {
    const [low, high] = isList(wanted) ? wanted : []
    if (typeof low !== 'number' || typeof high !== 'number') return unknown('two numbers are expected')
    return yesOrNo(values.every((value) => low <= value && value <= high))
  }
  if (typeof wanted !== 'number') return mismatch(found, wanted)
  return yesOrNo(values.every((value) => (op === 'le' ? value <= wanted : value >= wanted)))
}

/** Modes are bits, not numbers: 0077 is not "less" than 0700. Each element of a list is judged. */
function compareBits(op: 'bitsWithin' | 'bitsCover', found: Json, wanted: Json): Verdict {
  const values = isList(found) ? found : [found]
  if (!isWhole(wanted) || !values.every(isWhole)) return mismatch(found, wanted)
  return yesOrNo(
    values.every((bits) => (op === 'bitsWithin' ? (bits & ~wanted) === 0 : (bits & wanted) === wanted)),
  )
}

const isWhole = (value: Json): value is number => typeof value === 'number' && Number.isInteger(value)
const isList = (value: Json): value is readonly Json[] => Array.isArray(value)
const has = (list: readonly Json[], one: Json): boolean => list.some((other) => same(other, one))

function same(one: Json, other: Json): boolean {
  if (isList(one) || isList(other))
    return (
      isList(one) &&
      isList(other) &&
      one.length === other.length &&
      one.every((part, at) => same(part, other[at] ?? null))
    )
  if (one === null || other === null || typeof one !== 'object' || typeof other !== 'object')
    return one === other
  const keys = Object.keys(one)
  return (
    keys.length === Object.keys(other).length &&
    keys.every((key) => key in other && same(one[key] ?? null, other[key] ?? null))
  )
}

function kindOf(value: Json): string {
  if (value === null) return 'null'
  return isList(value) ? 'list' : typeof value
}

function mismatch(found: Json, wanted: Json): Verdict {
  return unknown(`found a ${kindOf(found)}, which cannot be compared with a ${kindOf(wanted)}`)
}

const unknown = (because: string, missing = false): Verdict => ({ kind: 'unknown', because, missing })
const yesOrNo = (holds: boolean): Verdict => ({ kind: holds ? 'true' : 'false' })
