import type { Database } from './connect.ts'

/** What grows when something stands still or is forgotten. Ages are in seconds, 0 when nothing waits. */
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
  /** Tokens of operators that end within the time asked for and that nobody replaced. */
  readonly tokens_ending: number
  /** Whole days since the oldest key that a host or builder may still sign with was accepted. */
  readonly key_age_days: number
}

// A token with a short life is meant to end, and one that has a successor was taken care of: a later one of the same name, for the same
// person and role. Another person's token of that name replaces nothing.
const WATCH = `
select
  coalesce((select extract(epoch from now() - min(greatest(created_at, not_before))) from outbox where not_before <= now()), 0)::float8 as outbox_age_s,
  coalesce((select extract(epoch from now() - min(greatest(created_at, not_before))) from job where state = 'queued' and not_before <= now()), 0)::float8 as job_waiting_s,
  (select count(*) from builder where active and last_seen_at < now() - interval '15 minutes') as builders_silent,
  count(*) as hosts,
  count(*) filter (where c.seen_at < now() - interval '1 hour') as hosts_silent,
  (select count(*) from api_token t
   where t.revoked_at is null and t.expires_at between now() and now() + make_interval(days => $1)
     and t.expires_at - t.created_at >= make_interval(days => 2 * $1)
     and not exists (select 1 from api_token n where n.name = t.name and n.role = t.role and n.revoked_at is null
                     and coalesce(n.subject, n.created_by) = coalesce(t.subject, t.created_by) and n.created_at > t.created_at
                     and n.expires_at > now() + make_interval(days => $1))) as tokens_ending,
  coalesce(floor(extract(epoch from now() - least(
    (select min(k.created_at) from system_key k join system o on o.id = k.system_id where k.status = 'active' and o.active),
    (select min(k.created_at) from builder_key k join builder b on b.id = k.builder_id where k.status = 'active' and b.active)
  )) / 86400), 0)::float8 as key_age_days
from system s join system_current c on c.system_id = s.id
where s.active`

/** @param expiryDays how long before its end a token counts as ending */
export async function watchTenant(
  transaction: Database,
  { expiryDays }: { readonly expiryDays: number },
): Promise<TenantWatch> {
  const [row] = (await transaction.query<TenantWatch>(WATCH, [expiryDays])).rows
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

const ARCHIVES = `select current_setting('archive_mode') <> 'off' as archives`

// A crash forgets the archiver's figures; then what was archived before is not known, and counting begins anew.
const ARCHIVED = `
select extract(epoch from clock_timestamp() - coalesce(last_archived_time, stats_reset))::float8 as age_s from pg_stat_archiver`

/**
 * Seconds since Postgres last handed a part of its log to the archive: what was committed since then would be lost with
 * the machine. Undefined for a server that does not archive. RDS restores from this archive and closes a part every five
 * minutes; Aurora has none, so there the second statement, which it may not even know, is never asked.
 */
export async function archiveAgeS(database: Database): Promise<number | undefined> {
  const [mode] = (await database.query<{ archives: boolean }>(ARCHIVES)).rows
  if (mode?.archives !== true) return undefined
  return (await database.query<{ age_s: number }>(ARCHIVED)).rows[0]?.age_s
}
