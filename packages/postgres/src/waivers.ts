import type { KnownWaiver, Person, WaiverScope, WaiverState, WaiverType } from '@crystal-forge/control-plane'
import type { Database } from './connect.ts'
import { type Listed, type Page, readPage } from './lists.ts'

/** A waiver as it stood at a time. */
export type WaiverRow = {
  id: string
  name: string
  rules: string[]
  scope: WaiverScope
  type: WaiverType | null
  justification: string
  compensating: string
  residual_severity: string | null
  claimed: unknown
  source: string
  owner: string | null
  milestones: { text: string; due: string }[]
  review_at: Date | null
  author: string
  submitter: string | null
  approver: string | null
  state: WaiverState
  step: number
  expires_at: Date
  renews: string | null
  created_at: Date
  changed_at: Date
  author_subject: string | null
  submitter_subject: string | null
  approver_subject: string | null
}
export type WaiverFilter = {
  readonly state: string | null
  readonly rule: string | null
  /** Approved ones that end so soon after `at`. */
  readonly expiringWithinS: number | null
  readonly at: Date
}

const LIST = `
select * from waivers_at($3)
where ($4::text is null or state = $4) and ($5::text is null or $5 = any (rules)) and ($1::text is null or id < $1)
  and ($6::float8 is null or (state = 'approved' and expires_at <= $3 + make_interval(secs => $6)))
order by id desc limit $2`

export async function listWaivers(
  database: Database,
  filter: WaiverFilter,
  page: Page,
): Promise<Listed<WaiverRow>> {
  const filters = [filter.at, filter.state, filter.rule, filter.expiringWithinS]
  return await readPage<WaiverRow>(database, { text: LIST, filters, key: (row) => row.id }, page)
}

const ALL = `select * from waivers_at($1) where state <> 'draft' or source = 'configuration' order by id`

/** Every waiver that can bear on a result, or that a configuration speaks of. */
export async function knownWaivers(database: Database, at: Date): Promise<KnownWaiver[]> {
  const { rows } = await database.query<WaiverRow>(ALL, [at])
  return rows.map((row) => ({
    id: row.id,
    name: row.name,
    rules: row.rules,
    scope: row.scope,
    state: row.state,
    type: row.type,
    justification: row.justification,
    compensating: row.compensating,
    author: row.author,
    approver: row.approver,
    owner: row.owner,
    milestones: row.milestones,
    expiresAt: row.expires_at,
  }))
}

const ONE = 'select * from waivers_at($2) where id = $1 or name = $1 order by id = $1 desc limit 1'
const STEPS =
  'select step, state, person, subject, reason, type, expires_at, at from waiver_transition where waiver_id = $1 order by step'

const NOTICES = 'select days_before, at from waiver_notice where waiver_id = $1 order by at'

export type WaiverDetail = WaiverRow & {
  /** When it was said that it ends, and how many days before. */
  notices: readonly { days_before: number; at: Date }[]
  transitions: readonly {
    step: number
    state: string
    person: string
    subject: string | null
    reason: string
    type: string | null
    expires_at: Date | null
    at: Date
  }[]
}

/** By id or by the name that configurations use; null when there is none. */
export async function showWaiver(database: Database, name: string, at: Date): Promise<WaiverDetail | null> {
  const row = (await database.query<WaiverRow>(ONE, [name, at])).rows[0]
  if (row === undefined) return null
  const { rows } = await database.query<WaiverDetail['transitions'][number]>(STEPS, [row.id])
  const notices = (await database.query<WaiverDetail['notices'][number]>(NOTICES, [row.id])).rows
  return { ...row, transitions: rows, notices }
}

export type NewWaiver = {
  readonly name: string
  readonly rules: readonly string[]
  readonly scope: WaiverScope
  readonly type: WaiverType
  readonly justification: string
  readonly compensating: string
  readonly residualSeverity: string | null
  readonly owner: string | null
  readonly milestones: readonly { readonly text: string; readonly due: string }[]
  readonly reviewAt: Date | null
  readonly author: Person
  readonly expiresAt: Date
  readonly renews: string | null
}

const DRAFT = `
with made as (
  insert into waiver (tenant_id, name, rules, scope, type, justification, compensating, residual_severity, source, owner,
                      milestones, review_at, author, expires_at, renews, author_subject)
  values (cf_tenant(), $1, $2, $3, $4, $5, $6, $7, 'operator', $8, $9, $10, $11, $12, $13, $14)
  on conflict (tenant_id, name) do nothing
  returning id, author, author_subject
)
insert into waiver_transition (tenant_id, waiver_id, step, state, person, subject)
select cf_tenant(), m.id, 1, 'draft', m.author, m.author_subject from made m
returning waiver_id as id`

/** The id of a new draft; null when its name is taken. */
export async function draftWaiver(transaction: Database, waiver: NewWaiver): Promise<string | null> {
  const { rows } = await transaction.query<{ id: string }>(DRAFT, [
    waiver.name,
    waiver.rules,
    JSON.stringify(waiver.scope),
    waiver.type,
    waiver.justification,
    waiver.compensating,
    waiver.residualSeverity,
    waiver.owner,
    JSON.stringify(waiver.milestones),
    waiver.reviewAt,
    waiver.author.name,
    waiver.expiresAt,
    waiver.renews,
    waiver.author.subject,
  ])
  return rows[0]?.id ?? null
}

export type WaiverMove = {
  readonly waiver: string
  /** The step that was looked at when this was decided. */
  readonly after: number
  readonly state: WaiverState
  readonly person: Person
  readonly reason: string
  readonly type: WaiverType | null
  readonly expiresAt: Date | null
}

const MOVE = `
insert into waiver_transition (tenant_id, waiver_id, step, state, person, reason, type, expires_at, subject)
values (cf_tenant(), $1, $2, $3, $4, $5, $6, $7, $8)
on conflict (waiver_id, step) do nothing`

/** False when somebody else moved it meanwhile: what was decided rests on a state that is no more. */
export async function moveWaiver(transaction: Database, move: WaiverMove): Promise<boolean> {
  const { waiver, after, state, person, reason, type, expiresAt } = move
  const values = [waiver, after + 1, state, person.name, reason, type, expiresAt, person.subject]
  const done = await transaction.query(MOVE, values)
  return done.rowCount === 1
}
