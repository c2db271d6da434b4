import type { Database } from './connect.ts'

/** What grows when something stands still. Ages are in seconds, 0 when nothing waits. */
export type TenantWatch = {
  /** Of the oldest message that is due and was not sent. */
  readonly outbox_age_s: number
  /** Of the oldest job that is due and that nobody took. */
  readonly job_waiting_s: number
  /** Active builders that were here once and have said nothing for 15 minutes. */
  readonly builders_silent: number
  /** Active hosts that have reported once. */
  readonly hosts: number
  /** Of these, the ones that have said nothing for an hour. */
  readonly hosts_silent: number
}

const WATCH = `
select
  coalesce((select extract(epoch from now() - min(greatest(created_at, not_before))) from outbox where not_before <= now()), 0)::float8 as outbox_age_s,
  coalesce((select extract(epoch from now() - min(greatest(created_at, not_before))) from job where state = 'queued' and not_before <= now()), 0)::float8 as job_waiting_s,
  (select count(*) from builder where active and last_seen_at < now() - interval '15 minutes') as builders_silent,
  count(*) as hosts,
  count(*) filter (where c.seen_at < now() - interval '1 hour') as hosts_silent
from system s join system_current c on c.system_id = s.id
where s.active`

export async function watchTenant(transaction: Database): Promise<TenantWatch> {
  const [row] = (await transaction.query<TenantWatch>(WATCH)).rows
  if (row === undefined) throw new Error('an aggregate gave no row')
  return row
}

const NONCES = `
select count(*) as hours from pg_inherits i join pg_class c on c.oid = i.inhrelid
where i.inhparent = 'request_nonce'::regclass and c.relname ~ '^request_nonce_[0-9]{8}_[0-9]{2}$'
  and to_timestamp(right(c.relname, 11) || '+00', 'YYYYMMDD_HH24TZH') > now()`

/** For how many hours to come there is a table for spent nonces. Without one they go to a table that is never dropped. */
export async function nonceHoursAhead(database: Database): Promise<number> {
  return (await database.query<{ hours: number }>(NONCES)).rows[0]?.hours ?? 0
}
