import type { Person } from '@crystal-forge/control-plane'
import type { Database } from './connect.ts'
import { type Listed, type Page, readPage } from './lists.ts'

/** What a person says of one rule on one host. */
export type StatementRow = {
  id: string
  system: string
  rule: string
  source: string
  holds: boolean
  statement: string
  claimed_status: string | null
  document_sha256: string | null
  author: string
  author_subject: string | null
  decision: string | null
  decided_by: string | null
  collected_at: Date
  expires_at: Date
}
export type StatementFilter = { readonly system: string | null; readonly rule: string | null }

const COLUMNS = `
select e.id, s.hostname as system, e.rule_id as rule, e.source, e.holds, e.statement, e.claimed_status,
       encode(e.document_sha256, 'hex') as document_sha256, e.author, e.author_subject, d.decision, d.person as decided_by,
       e.collected_at, e.expires_at
from control_evidence e
join system s on s.id = e.system_id
left join lateral (select * from control_evidence_decision d where d.evidence_id = e.id order by d.decided_at desc, d.id desc limit 1) d on true`

const LIST = `${COLUMNS}
where ($3::text is null or s.hostname = $3 or s.id = $3) and ($4::text is null or e.rule_id = $4)
  and ($1::text is null or e.id < $1)
order by e.id desc limit $2`

export async function listStatements(
  database: Database,
  filter: StatementFilter,
  page: Page,
): Promise<Listed<StatementRow>> {
  const filters = [filter.system, filter.rule]
  return await readPage<StatementRow>(database, { text: LIST, filters, key: (row) => row.id }, page)
}

export async function showStatement(database: Database, id: string): Promise<StatementRow | null> {
  return (await database.query<StatementRow>(`${COLUMNS} where e.id = $1`, [id])).rows[0] ?? null
}

export type NewStatement = {
  readonly system: string
  readonly rule: string
  readonly source: 'attestation' | 'import'
  readonly holds: boolean
  readonly statement: string
  readonly toplevel: string | null
  readonly claimedStatus: string | null
  /** Lower-case hexadecimal. */
  readonly documentSha256: string | null
  readonly author: Person
  readonly collectedAt: Date
  readonly expiresAt: Date
}

const ADD = `
insert into control_evidence (tenant_id, system_id, rule_id, source, holds, statement, toplevel, claimed_status, document_sha256,
                              author, collected_at, expires_at, author_subject)
values (cf_tenant(), $1, $2, $3, $4, $5, $6, $7, decode($8, 'hex'), $9, $10, $11, $12)
returning id`

export async function addStatement(transaction: Database, statement: NewStatement): Promise<string> {
  const { rows } = await transaction.query<{ id: string }>(ADD, [
    statement.system,
    statement.rule,
    statement.source,
    statement.holds,
    statement.statement,
    statement.toplevel,
    statement.claimedStatus,
    statement.documentSha256,
    statement.author.name,
    statement.collectedAt,
    statement.expiresAt,
    statement.author.subject,
  ])
  const [row] = rows
  if (row === undefined) throw new Error('the statement was not stored')
  return row.id
}

const DECIDE = `
insert into control_evidence_decision (tenant_id, evidence_id, decision, person, reason, subject)
values (cf_tenant(), $1, $2, $3, $4, $5)`

export async function decideStatement(
  transaction: Database,
  decision: {
    readonly statement: string
    readonly decision: 'accepted' | 'rejected'
    readonly person: Person
    readonly reason: string
  },
): Promise<void> {
  const { statement, person, reason } = decision
  await transaction.query(DECIDE, [statement, decision.decision, person.name, reason, person.subject])
}
