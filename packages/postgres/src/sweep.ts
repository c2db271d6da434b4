import type { Actor } from './audit-events.ts'
import type { Database } from './connect.ts'
import { enqueueJob, failAttempt, type OpenJob, RESOLVE_PRIORITY } from './jobs.ts'

/** All tenants. Only the scheduler may ask. */
export async function allTenants(database: Database): Promise<string[]> {
  const { rows } = await database.query<{ id: string }>('select id from tenant order by id')
  return rows.map(({ id }) => id)
}

const EXPIRED = `
select id, kind, subject, attempt, fence, payload as notes from job
where tenant_id = cf_tenant() and state = 'leased' and lease_until < now()
order by lease_until limit $1 for update skip locked`

/** Leases that ran out: the builder is gone, so the attempt failed as the machine's fault. Returns how many. */
export async function expireLeases(transaction: Database, most: number): Promise<number> {
  const { rows } = await transaction.query<OpenJob>(EXPIRED, [most])
  for (const job of rows) {
    const message = `the lease of attempt ${job.attempt} ran out: the builder stopped answering`
    const failure = { class: 'infra', message } as const
    await failAttempt(transaction, job, { failure, outcome: 'expired', actor: SCHEDULER })
  }
  return rows.length
}

const REHINT = `
with unhinted as (
  select j.id from job j
  where j.tenant_id = cf_tenant() and j.state = 'queued' and j.not_before <= now()
    and coalesce(j.hinted_at, j.created_at) < now() - make_interval(secs => $1)
    and not exists (select from outbox o where o.tenant_id = j.tenant_id and o.body ->> 'job' = j.id)
  order by coalesce(j.hinted_at, j.created_at) limit $2
  for update skip locked
), marked as (
  update job j set hinted_at = now() from unhinted u where j.id = u.id returning j.id, j.kind, j.attempt
)
insert into outbox (tenant_id, queue, body)
select cf_tenant(), m.kind, job_hint(m.id, m.kind, m.attempt) from marked m`

/** Queued jobs about which nobody was told for this long get a new hint: messages get lost, jobs do not. */
export async function hintAgain(
  transaction: Database,
  { olderS, most }: { olderS: number; most: number },
): Promise<number> {
  const { rowCount } = await transaction.query(REHINT, [olderS, most])
  return rowCount ?? 0
}

const DUE = `
update flake set next_poll_at = now() + make_interval(secs => poll_interval_s)
where id in (
  select id from flake
  where tenant_id = cf_tenant() and active and auto_poll and next_poll_at <= now()
  order by next_poll_at limit $1 for update skip locked)
returning id, name`

/** Flakes whose turn has come get a `resolve` job; one that is open already serves. */
export async function pollFlakes(transaction: Database, most: number): Promise<number> {
  const { rows } = await transaction.query<{ id: string; name: string }>(DUE, [most])
  for (const { id, name } of rows)
    await enqueueJob(transaction, {
      kind: 'resolve',
      subject: id,
      notes: { flake: name, because: 'poll' },
      priority: RESOLVE_PRIORITY,
    })
  return rows.length
}

const RESCAN = `
select d.id, d.out_path as "outPath" from configuration g
join evaluation e on e.id = g.desired_evaluation_id
join derivation d on d.id = e.derivation_id
where g.tenant_id = cf_tenant() and d.state = 'cached' and d.scanned_at < now() - make_interval(hours => $1)
  and not exists (select from job j where j.tenant_id = d.tenant_id and j.kind = 'scan' and j.subject = d.id and j.state in ('queued', 'leased'))
group by d.id order by min(d.scanned_at) limit $2`

/** What hosts should run is scanned again: new vulnerabilities are found in old packages. */
export async function scanAgain(
  transaction: Database,
  { olderHours, most }: { olderHours: number; most: number },
): Promise<number> {
  const { rows } = await transaction.query<{ id: string; outPath: string }>(RESCAN, [olderHours, most])
  for (const { id, outPath } of rows)
    await enqueueJob(transaction, { kind: 'scan', subject: id, notes: { out_path: outPath }, priority: 0 })
  return rows.length
}

const DELIVERIES = `
delete from hook_delivery where ctid in (
  select ctid from hook_delivery where tenant_id = cf_tenant() and received_at < now() - interval '30 days' limit $1)`
const RECEIPTS = `
delete from report_receipt where ctid in (
  select ctid from report_receipt where tenant_id = cf_tenant() and received_at < now() - interval '48 hours' limit $1)`
const DEPLOYMENTS = `
update deployment set state = 'expired', ended_at = now()
where tenant_id = cf_tenant() and state in ('draft', 'awaiting_approval', 'ordered')
  and (convert_from(decode(envelope ->> 'payload', 'base64'), 'UTF8')::jsonb ->> 'expires')::timestamptz < now()`

/** What is remembered for a limited time, a bounded number at a time. */
export async function forgetOld(
  transaction: Database,
  most: number,
): Promise<{ deliveries: number; receipts: number; deployments: number }> {
  const deliveries = await transaction.query(DELIVERIES, [most])
  const receipts = await transaction.query(RECEIPTS, [most])
  const deployments = await transaction.query(DEPLOYMENTS)
  return {
    deliveries: deliveries.rowCount ?? 0,
    receipts: receipts.rowCount ?? 0,
    deployments: deployments.rowCount ?? 0,
  }
}

/** Writes down how the fleet stands today, unless that was done in the last quarter of an hour. Returns whether it was. */
export async function recordFleetDay(transaction: Database): Promise<boolean> {
  const { rows } = await transaction.query<{ recorded: boolean }>('select record_fleet_day() as recorded')
  return rows[0]?.recorded === true
}

/** Partitions of the replay memory for the hours to come; those whose rows have all expired are dropped. */
export async function turnNoncePartitions(database: Database): Promise<{ created: number; dropped: number }> {
  const { rows } = await database.query<{ created: number; dropped: number }>(
    'select created, dropped from turn_nonce_partitions()',
  )
  return rows[0] ?? { created: 0, dropped: 0 }
}

const SCHEDULER: Actor = { kind: 'system', name: 'sweep' }
