import { createHash } from 'node:crypto'
import {
  type AssessedHost,
  adoptRelease,
  type Benchmark,
  type Catalogue,
  type Checklist,
  compareChecklist,
  countFlips,
  type Flip,
  readBenchmark,
  readChecklist,
  releaseFlips,
} from '@crystal-forge/control-plane'
import { addStatement, type Database, hostEvidence, knownWaivers, recordEvent } from '@crystal-forge/postgres'
import { line, text } from '@crystal-forge/protocol'
import * as z from 'zod'
import { problem, type Reply } from '../http-api.ts'
import { type Context, change, type Endpoints, type OperatorEndpoint, unknown } from '../operator-endpoint.ts'
import { assessHosts } from './assessment.ts'
import { unknownRule } from './controls.ts'

/** Checklists that somebody filled in become statements of that person; a benchmark becomes the files of a new release. */
export function importEndpoints(context: Context, catalogue: () => Catalogue): Endpoints {
  return { 'POST /v1/imports': importDocument(context, catalogue) }
}

const order = z.strictObject({
  /** CKLB, CKL, or a benchmark in XCCDF, as it stands in its file. */
  document: text(4_000_000).min(1),
  /** Absent: the host that the checklist names. */
  system: line(253).min(1).optional(),
  dry_run: z.boolean().default(false),
})

function importDocument(context: Context, catalogue: () => Catalogue): OperatorEndpoint {
  return change(context, order, async (transaction, { body, actor, operator }) => {
    if (isBenchmark(body.document))
      return await adopt(transaction, catalogue(), { document: body.document, at: context.now() })
    const read = readChecklist(body.document, catalogue().benchmark.id)
    if (!read.ok)
      return problem(
        422,
        'invalid_checklist',
        `the checklist cannot be read: ${read.fault} (taken are CKLB, CKL, and benchmarks in XCCDF)`,
      )
    const { checklist } = read
    const stranger = checklist.rules.find(({ rule }) => !catalogue().rules.has(rule))
    if (stranger !== undefined) return unknownRule(stranger.rule)
    const name = body.system ?? checklist.hostname
    const at = context.now()
    const choice = { kind: 'one', name } as const
    const release = catalogue().benchmark.current
    const snapshot = await assessHosts(transaction, catalogue(), { at, release, choice })
    const [host] = snapshot.hosts
    if (host === undefined) return unknown('system', name)
    const compared = compareChecklist(checklist, host)
    const answer = summary(checklist, host, compared)
    if (body.dry_run || compared.statements.length === 0)
      return { status: 200, body: { ...answer, dry_run: body.dry_run, recorded: 0 } }
    const sha256 = createHash('sha256').update(body.document, 'utf8').digest('hex')
    for (const { rule, theirs, statement } of compared.statements)
      await addStatement(transaction, {
        system: host.system,
        rule,
        source: 'import',
        holds: theirs === 'pass',
        statement,
        toplevel: host.running?.current ?? null,
        claimedStatus: theirs,
        documentSha256: sha256,
        author: operator,
        collectedAt: at,
        expiresAt: new Date(at.getTime() + DAYS * 86_400_000),
      })
    const detail = {
      system: host.system,
      format: checklist.format,
      document: sha256,
      statements: compared.statements.length,
    }
    await recordEvent(transaction, { type: 'control.imported', actor, detail })
    return { status: 201, body: { ...answer, dry_run: false, recorded: compared.statements.length } }
  })
}

function summary(
  checklist: Checklist,
  host: AssessedHost,
  compared: ReturnType<typeof compareChecklist>,
): Record<string, unknown> {
  return {
    kind: 'checklist',
    format: checklist.format,
    system: host.system,
    hostname: host.hostname,
    rules: checklist.rules.length,
    counts: compared.counts,
    same: compared.same,
    statements: compared.statements,
    passed_over: compared.passedOver,
  }
}

function isBenchmark(document: string): boolean {
  return /<(?:[A-Za-z0-9]+:)?Benchmark[\s>]/.test(document.slice(0, 4096))
}

/** Nothing is stored: a catalogue is files under review, and new rules wait there for somebody's judgement. */
async function adopt(
  database: Database,
  catalogue: Catalogue,
  { document, at }: { readonly document: string; readonly at: Date },
): Promise<Reply> {
  const read = readBenchmark(document)
  if (!read.ok) return problem(422, 'invalid_benchmark', `the benchmark cannot be read: ${read.fault}`)
  const step = adoptRelease(catalogue, read.benchmark)
  if (!step.ok) return problem(409, 'benchmark_refused', step.fault)
  const { files, ...changes } = step.adopted
  const flipped = await flippedHosts(database, catalogue, { benchmark: read.benchmark, at })
  return {
    status: 200,
    body: { kind: 'benchmark', ...changes, ...flipped, files: Object.fromEntries(files) },
  }
}

/** Which results the release flips, host after host; what was not looked at any more is said. */
async function flippedHosts(
  database: Database,
  catalogue: Catalogue,
  { benchmark, at }: { readonly benchmark: Benchmark; readonly at: Date },
): Promise<object> {
  const waivers = await knownWaivers(database, at)
  const flips: Flip[] = []
  let from: string | null = null
  let looked = 0
  let left = false
  do {
    const found = await hostEvidence(database, { kind: 'from', hostname: from, most: HOSTS_AT_ONCE + 1 }, at)
    const hosts = found.slice(0, HOSTS_AT_ONCE)
    flips.push(...releaseFlips(catalogue, benchmark, { at, hosts, waivers }))
    looked += hosts.length
    from = found[HOSTS_AT_ONCE]?.hostname ?? null
    left = from !== null && looked >= HOSTS_MAX
  } while (from !== null && !left)
  const { opened, closed } = countFlips(flips)
  return {
    hosts: { looked_at: looked, flipped: new Set(flips.map(({ system }) => system)).size, more: left },
    opened,
    closed,
    flips: flips.slice(0, FLIPS_MAX),
    flips_left_out: Math.max(0, flips.length - FLIPS_MAX),
  }
}

/** How long what a checklist says counts. */
const DAYS = 365
/** Each is judged twice. */
const HOSTS_AT_ONCE = 25
const HOSTS_MAX = 300
/** Beside the files of a whole catalogue in one answer. */
const FLIPS_MAX = 5000
