import {
  type HostEvidence,
  type HumanEvidence,
  type Json,
  newestFacts,
  type RuntimeEvidence,
} from '@crystal-forge/control-plane'
import type { Database } from './connect.ts'
import { type EvaluationRow, evaluationOf } from './evaluation-evidence.ts'

/** Which hosts: one by id or name, or the active ones in the order of their names, from a name on. */
export type HostChoice =
  | { readonly kind: 'one'; readonly name: string }
  | { readonly kind: 'from'; readonly hostname: string | null; readonly most: number }

const HOSTS = `
select s.id, s.hostname, env.name as environment, f.name as flake, c.name as configuration
from system s
left join environment env on env.id = s.environment_id
left join flake f on f.id = s.flake_id
left join configuration c on c.id = s.configuration_id
where s.created_at <= $2
  and case when $1::text is not null then s.id = $1 or s.hostname = $1
           else (s.active or s.deactivated_at > $2) and ($3::text is null or s.hostname >= $3) end
order by s.hostname limit $4`

const RUNNING = 'select * from running_at($1, $2)'

/** Two messages: a host sends everything in one, and one that broke off should not hide what came before. */
const FACTS = `
select m.* from unnest($1::text[]) h(id)
join lateral (
  select m.id, m.system_id, m.current_path, m.facts, m.collected_at, encode(m.stig_report_sha256, 'hex') as report_sha256 from control_facts m
  where m.system_id = h.id and m.collected_at <= $2 and m.received_at <= $2
  order by m.collected_at desc limit 2
) m on true`

const EVALUATIONS = `
select distinct on (d.out_path) e.id, d.out_path, e.evaluated_at, e.stig_report
from derivation d join evaluation e on e.derivation_id = d.id
where d.out_path = any ($1) and e.evaluated_at <= $2 and e.stig_report is not null
order by d.out_path, e.evaluated_at, e.id`

const STATEMENTS = 'select * from statements_at($1, $2)'

/**
 * What is known of some hosts at a time, from history alone: what they ran, the report of the evaluation that yields it,
 * the facts that had arrived, and what people had said. In the order of the host names.
 */
export async function hostEvidence(
  database: Database,
  choice: HostChoice,
  at: Date,
): Promise<HostEvidence[]> {
  const chosen = choice.kind === 'one' ? [choice.name, at, null, 1] : [null, at, choice.hostname, choice.most]
  const { rows: hosts } = await database.query<HostRow>(HOSTS, chosen)
  const ids = hosts.map(({ id }) => id)
  const running = byHost((await database.query<RunningRow>(RUNNING, [ids, at])).rows)
  const paths = [...running.values()].flatMap((rows) => rows.map(({ current_path }) => current_path))
  const facts = byHost((await database.query<FactsRow>(FACTS, [ids, at])).rows)
  const evaluations = new Map(
    // Once for each system, however many hosts run it.
    (await database.query<EvaluationRow>(EVALUATIONS, [paths, at])).rows.map((row) => [
      row.out_path,
      evaluationOf(row),
    ]),
  )
  const people = byHost((await database.query<StatementRow>(STATEMENTS, [ids, at])).rows)
  return hosts.map((host) => {
    const [state] = running.get(host.id) ?? []
    const evaluation = state === undefined ? null : (evaluations.get(state.current_path) ?? null)
    return {
      system: host.id,
      hostname: host.hostname,
      environment: host.environment,
      flake: host.flake,
      configuration: host.configuration,
      running:
        state === undefined
          ? null
          : {
              current: state.current_path,
              booted: state.booted_path,
              // Said by the newest message about the system that runs; the newest comes first.
              reportSha256:
                (facts.get(host.id) ?? []).find((row) => row.current_path === state.current_path)
                  ?.report_sha256 ?? null,
              at: state.collected_at,
            },
      address: {
        ip: fingerprint(state, 'primary_ip_address'),
        mac: fingerprint(state, 'primary_mac_address'),
      },
      osVersion: fingerprint(state, 'nixos_version'),
      evaluation,
      runtime: [...newestFacts((facts.get(host.id) ?? []).flatMap(runtimeOf)).values()],
      people: (people.get(host.id) ?? []).map(statementOf),
    }
  })
}

type HostRow = {
  id: string
  hostname: string
  environment: string | null
  flake: string | null
  configuration: string | null
}
type RunningRow = {
  system_id: string
  current_path: string
  booted_path: string | null
  facts: unknown
  collected_at: Date
}
type FactsRow = {
  id: string
  system_id: string
  current_path: string
  facts: unknown
  collected_at: Date
  report_sha256: string | null
}
type StatementRow = {
  id: string
  system_id: string
  rule_id: string
  holds: boolean
  statement: string
  author: string
  author_subject: string | null
  approver: string | null
  approver_subject: string | null
  collected_at: Date
  expires_at: Date
}

function byHost<Row extends { system_id: string }>(
  rows: readonly Row[],
): ReadonlyMap<string, readonly Row[]> {
  const hosts = new Map<string, Row[]>()
  for (const row of rows) hosts.set(row.system_id, [...(hosts.get(row.system_id) ?? []), row])
  return hosts
}

/** The message was parsed when it came; its facts are what their schema says. */
function runtimeOf(row: FactsRow): RuntimeEvidence[] {
  if (!Array.isArray(row.facts)) return []
  return row.facts.flatMap((fact: unknown) => {
    if (!isRecord(fact) || typeof fact['collector'] !== 'string' || !isRecord(fact['args'])) return []
    const { collector, args, error } = fact
    const time = typeof fact['collected_at'] === 'string' ? Date.parse(fact['collected_at']) : Number.NaN
    // A host's clock may be wrong; nothing was collected after its message was.
    const collectedAt =
      Number.isNaN(time) || time > row.collected_at.getTime() ? row.collected_at : new Date(time)
    return [
      {
        id: row.id,
        toplevel: row.current_path,
        collector,
        args: asJson(args),
        values: asJson(fact['value'] ?? null),
        error: isRecord(error) ? `${String(error['code'])}: ${String(error['detail'])}` : null,
        collectedAt,
      },
    ]
  })
}

function statementOf(row: StatementRow): HumanEvidence {
  return {
    id: row.id,
    rule: row.rule_id,
    holds: row.holds,
    statement: row.statement,
    author: { subject: row.author_subject, name: row.author },
    approver: row.approver === null ? null : { subject: row.approver_subject, name: row.approver },
    collectedAt: row.collected_at,
    expiresAt: row.expires_at,
  }
}

function fingerprint(row: RunningRow | undefined, name: string): string | null {
  const inside = isRecord(row?.facts) ? row.facts['fingerprint'] : undefined
  const value = isRecord(inside) ? inside[name] : undefined
  return typeof value === 'string' && value !== '' ? value : null
}

/** What a jsonb column yields is JSON. */
function asJson(value: unknown): Json {
  if (value === null || typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean')
    return value
  if (Array.isArray(value)) return value.map(asJson)
  return isRecord(value)
    ? Object.fromEntries(Object.entries(value).map(([name, part]) => [name, asJson(part)]))
    : null
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
