import type { JobKind } from '@crystal-forge/protocol'
import type { Database } from './connect.ts'

/** A message that waits to be sent: at least once, in no order. */
export type OutboxRow = {
  readonly id: number
  readonly queue: JobKind
  readonly body: { readonly job: string }
}

const TENANTS = 'select distinct tenant_id as tenant from outbox where not_before <= now()'

/** Tenants with messages that are due. */
export async function tenantsWithHints(database: Database): Promise<string[]> {
  const { rows } = await database.query<{ tenant: string }>(TENANTS)
  return rows.map(({ tenant }) => tenant)
}

const TAKE = `
select id, queue, body from outbox where tenant_id = cf_tenant() and not_before <= now()
order by id limit $1 for update skip locked`

/** Due messages, locked until the end of the transaction: another relay takes others. */
export async function takeHints(transaction: Database, most: number): Promise<OutboxRow[]> {
  const { rows } = await transaction.query<OutboxRow>({ name: 'take_hints', text: TAKE, values: [most] })
  return rows
}

const SENT = `
with sent as (
  delete from outbox where tenant_id = cf_tenant() and id = any ($1) returning body ->> 'job' as job
)
update job set hinted_at = now() from sent where job.id = sent.job and job.state = 'queued'`

/** Forgets messages that the queue has; when this is lost with its transaction they are sent again. */
export async function hintsSent(transaction: Database, ids: readonly number[]): Promise<void> {
  await transaction.query({ name: 'hints_sent', text: SENT, values: [ids] })
}
