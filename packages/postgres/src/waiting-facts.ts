import type { WaitingFacts } from '@crystal-forge/control-plane'
import type { Database } from './connect.ts'

const JOB = `
select j.kind, j.state, j.attempt, j.not_before as "notBefore", j.created_at as "createdAt", j.lease_until as "leaseUntil",
       b.name as builder, j.payload ->> 'system' as platform, j.failure_message as "failureMessage",
       exists (select from outbox o where o.body ->> 'job' = j.id) as unpublished,
       (select count(*) from job a
        where a.tenant_id = j.tenant_id and a.kind = j.kind and a.state = 'queued' and a.not_before <= now()
          and (a.priority > j.priority or (a.priority = j.priority and a.id < j.id))) as ahead
from job j left join builder b on b.id = j.builder_id
where j.id = $1`

const BUILDERS = `
select b.name, b.active, b.last_seen_at as "lastSeenAt", b.systems as platforms,
       (select count(*) from job j where j.state = 'leased' and j.builder_id = b.id) as jobs
from builder b order by b.name limit 500`

type JobRow = WaitingFacts['job'] & { readonly unpublished: boolean; readonly ahead: number }

/** What is known about why a job does not run; null when there is no such job. */
export async function waitingFacts(database: Database, id: string, now: Date): Promise<WaitingFacts | null> {
  const [row] = (await database.query<JobRow>(JOB, [id])).rows
  if (row === undefined) return null
  const builders = await database.query<WaitingFacts['builders'][number]>(BUILDERS)
  const { unpublished, ahead, ...job } = row
  const platform = job.platform === 'builtin' ? null : job.platform
  return { now, job: { ...job, platform }, unpublished, ahead, builders: builders.rows }
}
