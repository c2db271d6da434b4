import { access, constants } from 'node:fs/promises'
import type { StorePath } from '@crystal-forge/protocol'
import * as z from 'zod'
import { infra, type NixCall, type NixFailure } from './nix-call.ts'
import { tailOf } from './nix-error.ts'
import { absentPaths, closureOf } from './path-info.ts'
import { type CommandOutcome, describeOutcome, runCommand } from './run-command.ts'
import { compareText } from './text-order.ts'

export type Scan = {
  readonly call: NixCall
  readonly outPath: StorePath
  /** Keeps the parsed feeds; vulnix locks it, so scans that share it wait for each other. */
  readonly cacheDirectory: string
  /** Where the feeds come from, ending in a slash; absent for vulnix's own default. */
  readonly mirror?: string
  /** TOML files; one that cannot be read fails the scan, because vulnix would only warn. */
  readonly whitelists: readonly string[]
  readonly extraArguments: readonly string[]
}

export type Finding = {
  readonly cve: string
  readonly package: string
  readonly version: string
  readonly derivation: string | null
  /** CVSS v3 base score; null when the feed has none. */
  readonly cvss3: number | null
  readonly description: string | null
  readonly whitelisted: boolean
}

export type ScanOutcome =
  | { readonly kind: 'no-scanner'; readonly reason: string }
  | {
      readonly kind: 'scanned'
      /** `vulnix 1.10.1`. */
      readonly scanner: string
      /** By package, version and CVE; matches by name and version, so false ones are normal. */
      readonly findings: readonly Finding[]
      /** Paths whose recipe is not in the store: nothing is known about them, so they are not clean. */
      readonly unscanned: readonly StorePath[]
    }
  | NixFailure

/** The scanner of this machine, `vulnix 1.10.1`, or null when there is none. */
export async function findScanner(env: Readonly<Record<string, string>>): Promise<string | null> {
  const outcome = await runCommand({ program: 'vulnix', args: ['--version'], env, timeoutMs: VERSION_MS_MAX })
  const version =
    outcome.kind === 'exited' && outcome.code === 0
      ? /^vulnix,? (?:version )?(\S+)\s*$/.exec(outcome.stdout)?.[1]
      : undefined
  return version === undefined ? null : `vulnix ${version}`
}

/**
 * Scans what a system refers to at run time. The recipes of those paths are named one by one (`-R`): that works in every version, while
 * scanning a closure by `-C` does not exist in all, and scanning the recipe of the system would report compilers and test tools.
 */
export async function scanClosure(scan: Scan): Promise<ScanOutcome> {
  const { call } = scan
  const scanner = await findScanner(call.env)
  if (scanner === null) return { kind: 'no-scanner', reason: 'vulnix is not installed or does not run' }
  const unreadable = await firstUnreadable(scan.whitelists)
  if (unreadable !== undefined) return infra(`the whitelist ${unreadable} cannot be read`)
  const recipes = await runtimeRecipes(call, scan.outPath)
  if (recipes.kind === 'failed') return recipes
  if (recipes.derivers.length === 0)
    return { kind: 'scanned', scanner, findings: [], unscanned: recipes.unscanned }
  const outcome = await runCommand({
    program: 'vulnix',
    args: [
      ...scan.extraArguments,
      '--json',
      '--show-whitelisted',
      '--no-requisites',
      '--cache-dir',
      scan.cacheDirectory,
      ...(scan.mirror === undefined ? [] : ['--mirror', scan.mirror]),
      ...scan.whitelists.flatMap((file) => ['--whitelist', file]),
      '--',
      ...recipes.derivers,
    ],
    env: call.env,
    timeoutMs: call.timeoutMs,
    ...(call.signal === undefined ? {} : { signal: call.signal }),
  })
  return judge(outcome, { scanner, unscanned: recipes.unscanned })
}

/**
 * Reads the JSON of vulnix 1.10 and later.
 * @throws RangeError when it is something else.
 */
export function parseVulnix(json: string): readonly Finding[] {
  return parse(json)
    .flatMap((entry) => [
      ...entry.affected_by.map((cve) => findingOf(entry, cve, false)),
      ...entry.whitelisted.map((cve) => findingOf(entry, cve, true)),
    ])
    .toSorted(
      (left, right) =>
        compareText(left.package, right.package) ||
        compareText(left.version, right.version) ||
        compareText(left.cve, right.cve),
    )
}

/** vulnix ends with 2 both for findings and for usage errors, and with 1 for crashes: only a JSON array on stdout is an answer. */
function judge(
  outcome: CommandOutcome,
  known: { readonly scanner: string; readonly unscanned: readonly StorePath[] },
): ScanOutcome {
  if (outcome.kind === 'timeout' || outcome.kind === 'cancelled') {
    return { kind: 'failed', class: outcome.kind, message: describeOutcome('vulnix', outcome) }
  }
  if (outcome.kind !== 'exited' || outcome.stdout.trim() === '') return infra(failureOf(outcome))
  try {
    return { kind: 'scanned', ...known, findings: parseVulnix(outcome.stdout) }
  } catch (error) {
    return infra(`${error instanceof Error ? error.message : String(error)}: ${failureOf(outcome)}`)
  }
}

function failureOf(outcome: CommandOutcome): string {
  const lines = tailOf(outcome.stderr, 2_000).trimEnd().split('\n').slice(-3).join('\n')
  return lines === '' ? describeOutcome('vulnix', outcome) : `vulnix: ${lines}`
}

type Recipes = {
  readonly kind: 'recipes'
  readonly derivers: readonly StorePath[]
  readonly unscanned: readonly StorePath[]
}

async function runtimeRecipes(call: NixCall, outPath: StorePath): Promise<Recipes | NixFailure> {
  const closure = await closureOf(call, outPath)
  if (closure.kind === 'failed') return closure
  if (closure.kind === 'absent')
    return infra(`${outPath} is not in the store; it must be built or fetched before it can be scanned`)
  // What is named by its content and has no deriver is a source file of the configuration, not a package.
  const built = [...closure.infos.values()].filter(({ deriver, ca }) => deriver !== null || ca === null)
  const derivers = [...new Set(built.flatMap(({ deriver }) => deriver ?? []))]
  const known = await absentPaths(call, derivers)
  if (known.kind === 'failed') return known
  const absent = new Set(known.absent)
  return {
    kind: 'recipes',
    derivers: derivers.filter((deriver) => !absent.has(deriver)),
    unscanned: built.filter(({ deriver }) => deriver === null || absent.has(deriver)).map(({ path }) => path),
  }
}

async function firstUnreadable(files: readonly string[]): Promise<string | undefined> {
  for (const file of files) {
    try {
      await access(file, constants.R_OK)
    } catch {
      return file
    }
  }
  return undefined
}

function findingOf(entry: z.infer<typeof entryShape>, cve: string, whitelisted: boolean): Finding {
  return {
    cve,
    package: entry.pname,
    version: entry.version,
    derivation: entry.derivation ?? null,
    cvss3: memberOf(entry.cvssv3_basescore, cve),
    description: entry.description === undefined ? null : memberOf(entry.description, cve),
    whitelisted,
  }
}

/** The names come from outside, so what every object inherits does not count. */
function memberOf<Value>(members: Readonly<Record<string, Value>>, name: string): Value | null {
  return Object.hasOwn(members, name) ? (members[name] ?? null) : null
}

function parse(json: string): z.infer<typeof answerShape> {
  try {
    return answerShape.parse(JSON.parse(json))
  } catch (cause) {
    throw new RangeError('vulnix answered something that is not its JSON', { cause })
  }
}

const VERSION_MS_MAX = 30_000
const entryShape = z.object({
  pname: z.string(),
  version: z.string(),
  derivation: z.string().nullish(),
  affected_by: z.array(z.string()),
  whitelisted: z.array(z.string()),
  cvssv3_basescore: z.record(z.string(), z.number()),
  description: z.record(z.string(), z.string()).optional(),
})
const answerShape = z.array(entryShape)
