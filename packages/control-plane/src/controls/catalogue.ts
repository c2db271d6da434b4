import { createHash } from 'node:crypto'
import {
  type CatalogueAliases,
  type CatalogueBenchmark,
  type CatalogueRule,
  type CciTable,
  type CollectorTable,
  catalogueAliases,
  catalogueBenchmark,
  catalogueRule,
  cciTable,
  collectorTable,
  type Expectation,
  type ExpectedOption,
  type OperatorVectors,
  operatorVectors,
  type SrgTable,
  srgTable,
} from '@crystal-forge/protocol'
import type * as z from 'zod'

/** A benchmark as data: what `catalogue/` holds. */
export type Catalogue = {
  readonly benchmark: CatalogueBenchmark
  readonly aliases: CatalogueAliases
  /** By V-id. */
  readonly rules: ReadonlyMap<string, CatalogueRule>
  readonly cci: CciTable
  readonly srg: SrgTable
  readonly collectors: CollectorTable
  readonly vectors: OperatorVectors
  readonly sha256: string
}

export type ReadCatalogue =
  | { readonly ok: true; readonly catalogue: Catalogue }
  | { readonly ok: false; readonly faults: readonly string[] }

/**
 * Parses the files of a catalogue, given as path below `catalogue/` and exact bytes. Every fault is reported with its file:
 * a rule without `assess`, an unknown CCI, SRG requirement or collector, a parameter that nobody declares, an alias of an
 * unknown rule.
 */
export function readCatalogue(
  files: ReadonlyMap<string, Uint8Array>,
  benchmarkFolder = 'anix',
): ReadCatalogue {
  const faults: string[] = []
  const read = <T>(path: string, schema: z.ZodType<T>): T | undefined => readFile(files, path, schema, faults)
  const benchmark = read(`${benchmarkFolder}/benchmark.json`, catalogueBenchmark)
  const aliases = read(`${benchmarkFolder}/aliases.json`, catalogueAliases)
  const cci = read('cci.json', cciTable)
  const srg = read('srg/gpos.json', srgTable)
  const collectors = read('collectors.json', collectorTable)
  const vectors = read('operators.json', operatorVectors)
  const rules = new Map<string, CatalogueRule>()
  const ruleFiles = [...files.keys()].filter((name) => name.startsWith(`${benchmarkFolder}/rules/`))
  for (const path of ruleFiles.sort(byBytes)) {
    const rule = read(path, catalogueRule)
    if (rule === undefined) continue
    if (path !== `${benchmarkFolder}/rules/${rule.id}.json`) faults.push(`${path}: id is ${rule.id}`)
    rules.set(rule.id, rule)
  }
  if (!(benchmark && aliases && cci && srg && collectors && vectors)) return { ok: false, faults }
  const catalogue = {
    benchmark,
    aliases,
    rules,
    cci,
    srg,
    collectors,
    vectors,
    sha256: catalogueSha256(files),
  }
  faults.push(...referencesOf(catalogue))
  return faults.length > 0 ? { ok: false, faults } : { ok: true, catalogue }
}

/**
 * SHA-256 over the lines `<sha256 of the file>  <path>\n`, sorted by the bytes of the path. Files are not serialised again:
 * writers of JSON differ. `nix/stig/catalogue.nix` computes the same.
 */
export function catalogueSha256(files: ReadonlyMap<string, Uint8Array>): string {
  const lines = [...files]
    .map(([path, bytes]) => ({ path, digest: createHash('sha256').update(bytes).digest('hex') }))
    .sort((one, other) => byBytes(one.path, other.path))
    .map(({ path, digest }) => `${digest}  ${path}\n`)
  return createHash('sha256').update(lines.join('')).digest('hex')
}

function byBytes(one: string, other: string): number {
  return Buffer.compare(Buffer.from(one), Buffer.from(other))
}

function readFile<T>(
  files: ReadonlyMap<string, Uint8Array>,
  path: string,
  schema: z.ZodType<T>,
  faults: string[],
): T | undefined {
  const bytes = files.get(path)
  if (bytes === undefined) {
    faults.push(`${path}: is missing`)
    return undefined
  }
  let raw: unknown
  try {
    raw = JSON.parse(Buffer.from(bytes).toString('utf8'))
  } catch (error) {
    faults.push(`${path}: ${error instanceof Error ? error.message : String(error)}`)
    return undefined
  }
  const parsed = schema.safeParse(raw)
  if (parsed.success) return parsed.data
  faults.push(...parsed.error.issues.map((issue) => `${path}: ${issue.path.join('.')}: ${issue.message}`))
  return undefined
}

function referencesOf(catalogue: Omit<Catalogue, 'sha256'>): string[] {
  const { benchmark, aliases, rules, cci, srg, collectors } = catalogue
  const requirements = new Set([...srg.requirements.map(({ id }) => id), ...srg.retired])
  const releases = new Set(benchmark.releases.map(({ id }) => id))
  const faults: string[] = []
  for (const rule of rules.values()) {
    const unknown = (what: string, names: readonly string[], known: (name: string) => boolean): void => {
      for (const name of names) if (!known(name)) faults.push(`${rule.id}: unknown ${what} ${name}`)
    }
    unknown('CCI', rule.cci, (name) => Object.hasOwn(cci.ccis, name))
    unknown('SRG requirement', rule.srg, (name) => requirements.has(name))
    unknown('release', Object.keys(rule.releases), (name) => releases.has(name))
    unknown(
      'collector',
      rule.assess.runtime.map(({ collector }) => collector),
      (name) => Object.hasOwn(collectors, name),
    )
    unknown('parameter', paramsNamed(rule), (name) => rule.params.some((param) => param.name === name))
  }
  for (const [control, { rules: named }] of Object.entries(aliases))
    for (const id of named)
      if (!rules.has(id)) faults.push(`aliases.json: ${control} names the unknown rule ${id}`)
  return faults
}

function paramsNamed(rule: CatalogueRule): string[] {
  const values = [
    ...rule.assess.config.expect.flatMap(alternativesOf).map(({ value }) => value),
    ...rule.assess.runtime.map(({ value }) => value),
  ]
  return values
    .flatMap((value) => (Array.isArray(value) ? value : [value]))
    .flatMap((value) =>
      value !== null && typeof value === 'object' && 'param' in value && typeof value['param'] === 'string'
        ? [value['param']]
        : [],
    )
}

/** The options that an expectation may read, in order of preference. */
export function alternativesOf(expectation: Expectation): readonly ExpectedOption[] {
  return 'anyOf' in expectation ? expectation.anyOf : [expectation]
}
