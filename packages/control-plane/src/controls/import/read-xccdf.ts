import type { RuleWords } from '@crystal-forge/protocol'
import { childOf, childrenOf, readXml, textOf, type XmlElement, XmlError } from './xml-read.ts'

/** A benchmark as its publisher wrote it. */
export type Benchmark = {
  readonly id: string
  readonly title: string
  /** Such as V1R2. */
  readonly release: string
  /** YYYY-MM-DD */
  readonly date: string
  readonly rules: readonly BenchmarkRule[]
}
export type BenchmarkRule = {
  readonly id: string
  readonly stigId: string
  readonly severity: 'high' | 'medium' | 'low'
  readonly srg: readonly string[]
  readonly cci: readonly string[]
  readonly words: RuleWords
}

export type ReadBenchmark =
  | { readonly ok: true; readonly benchmark: Benchmark }
  | { readonly ok: false; readonly fault: string }

/** Reads a benchmark in XCCDF 1.1.4 (as DISA publishes it) or 1.2, with or without results inside. */
export function readBenchmark(text: string): ReadBenchmark {
  try {
    return { ok: true, benchmark: benchmarkOf(readXml(text)) }
  } catch (error) {
    if (error instanceof XmlError || error instanceof BenchmarkError)
      return { ok: false, fault: error.message }
    throw error
  }
}

class BenchmarkError extends Error {
  override readonly name: string = 'BenchmarkError'
}

function benchmarkOf(root: XmlElement): Benchmark {
  if (root.name !== 'Benchmark') throw new BenchmarkError(`the root is ${root.name}; expected Benchmark`)
  const strange = strangeNamespace(root)
  if (strange !== undefined)
    throw new BenchmarkError(`the namespace is ${strange}; expected that of XCCDF 1.1 or 1.2`)
  const version = textOf(childOf(root, 'version')).trim()
  const info = childrenOf(root, 'plain-text').find((one) => one.attributes['id'] === 'release-info')
  const release = releaseOf(version, textOf(info))
  const groups = childrenOf(root, 'Group')
  if (groups.length === 0) throw new BenchmarkError('the benchmark has no Group')
  return {
    id: (root.attributes['id'] ?? '').replace(/^xccdf_mil\.disa\.stig_benchmark_/, ''),
    title: textOf(childOf(root, 'title')).trim(),
    release,
    date: dateOf(textOf(info)) ?? childOf(root, 'status')?.attributes['date'] ?? '',
    rules: eachOnce(groups.map((group) => ruleOf(group, release))),
  }
}

/** One of XCCDF that is not 1.1 or 1.2; another edition may mean other things by the same names. */
function strangeNamespace({ attributes }: XmlElement): string | undefined {
  const namespaces = Object.entries(attributes).flatMap(([name, value]) =>
    /^xmlns(:|$)/.test(name) && value.includes('/xccdf/') ? [value] : [],
  )
  return namespaces.find((one) => !NAMESPACES.includes(one))
}

const NAMESPACES = ['http://checklists.nist.gov/xccdf/1.1', 'http://checklists.nist.gov/xccdf/1.2']

function eachOnce(rules: readonly BenchmarkRule[]): readonly BenchmarkRule[] {
  const seen = new Set<string>()
  for (const { id } of rules) {
    if (seen.has(id)) throw new BenchmarkError(`${id} stands twice`)
    seen.add(id)
  }
  return rules
}

function releaseOf(version: string, info: string): string {
  if (/^V[0-9]+R[0-9]+$/.test(version)) return version
  const [, revision] = /Release: *([0-9]+)/.exec(info) ?? []
  if (!/^[0-9]+$/.test(version) || revision === undefined)
    throw new BenchmarkError(
      `version is ${JSON.stringify(version)} and release-info ${JSON.stringify(info)}: expected a number and "Release: <number>"`,
    )
  return `V${version}R${revision}`
}

/** `Benchmark Date: 01 Oct 2025` */
function dateOf(info: string): string | undefined {
  const [, day, month, year] = /Benchmark Date: *([0-9]{1,2}) ([A-Z][a-z]{2}) ([0-9]{4})/.exec(info) ?? []
  const number = MONTHS.indexOf(month ?? '') + 1
  if (day === undefined || year === undefined || number === 0) return undefined
  return `${year}-${String(number).padStart(2, '0')}-${day.padStart(2, '0')}`
}

function ruleOf(group: XmlElement, release: string): BenchmarkRule {
  const id = (group.attributes['id'] ?? '').replace(/^xccdf_mil\.disa\.stig_group_/, '')
  const [rule, another] = childrenOf(group, 'Rule')
  if (!/^V-[0-9]{6}$/.test(id) || rule === undefined || another !== undefined)
    throw new BenchmarkError(`Group ${JSON.stringify(id)}: expected a V-id and one Rule`)
  const severity = rule.attributes['severity']
  if (severity !== 'high' && severity !== 'medium' && severity !== 'low')
    throw new BenchmarkError(`${id}: severity is ${JSON.stringify(severity ?? '')}`)
  const discussion = discussionOf(wordsOf(childOf(rule, 'description')))
  const fix = childOf(rule, 'fixtext')
  const check = childOf(rule, 'check')
  const verbatim = `${release} XCCDF verbatim`
  return {
    id,
    severity,
    stigId: textOf(childOf(rule, 'version')).trim(),
    srg: srgOf(textOf(childOf(group, 'title')), discussion),
    cci: childrenOf(rule, 'ident')
      .map((one) => textOf(one).trim())
      .filter((one) => /^CCI-[0-9]{6}$/.test(one)),
    words: {
      ruleId: (rule.attributes['id'] ?? '').replace(/^xccdf_mil\.disa\.stig_rule_/, ''),
      checkId: check?.attributes['system'] ?? '',
      fixId: fix?.attributes['fixref'] ?? '',
      title: textOf(childOf(rule, 'title')).trim(),
      discussion,
      check: check === undefined ? '' : wordsOf(childOf(check, 'check-content')),
      fix: wordsOf(fix),
      provenance: { discussion: verbatim, check: verbatim, fix: verbatim },
    },
  }
}

/** Carriage returns that were written as characters by number are the publisher's line ends too. */
function wordsOf(element: XmlElement | undefined): string {
  return textOf(element).replace(/\r\n?/g, '\n').trim()
}

/** DISA puts markup as text into the description. */
function discussionOf(description: string): string {
  const start = description.indexOf('<VulnDiscussion>')
  const end = start < 0 ? -1 : description.indexOf('</VulnDiscussion>', start)
  return (end < 0 ? description : description.slice(start + '<VulnDiscussion>'.length, end)).trim()
}

/** The rule's own requirement is the title of its group; those that it satisfies as well stand in the discussion. */
function srgOf(title: string, discussion: string): string[] {
  const [, satisfied = ''] = /Satisfies: ([A-Z0-9, -]+)/.exec(discussion) ?? []
  return [...new Set([title.trim(), ...satisfied.split(',').map((one) => one.trim())])].filter((one) =>
    /^SRG-OS-[0-9]{6}-GPOS-[0-9]{5}$/.test(one),
  )
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']
