import type { FlakeSource, JobPayload } from '@crystal-forge/protocol'
import type { Database } from './connect.ts'
import type { ClaimedJob } from './jobs.ts'

/**
 * The work of a job that was just claimed, from what is known at this moment, and its subject marked as being worked on.
 * Null when there is nothing to do any more, for instance because the flake was deactivated.
 */
export async function beginWork(transaction: Database, job: ClaimedJob): Promise<JobPayload | null> {
  switch (job.kind) {
    case 'resolve':
      return resolveWork(transaction, job)
    case 'evaluate':
      return evaluateWork(transaction, job)
    case 'build':
      return buildWork(transaction, job)
    case 'scan':
      return scanWork(transaction, job)
  }
}

const RESOLVE = `
select f.source, f.branch, f.initial_commit_depth as depth,
  coalesce((select array_agg(c.rev order by c.position desc)
            from (select rev, position from commit where flake_id = f.id and on_branch order by position desc limit 64) c), '{}') as known
from flake f where f.id = $1 and f.active`

async function resolveWork(transaction: Database, job: ClaimedJob): Promise<JobPayload | null> {
  const { rows } = await transaction.query<{
    source: FlakeSource
    branch: string
    depth: number
    known: string[]
  }>(RESOLVE, [job.subject])
  const [row] = rows
  if (row === undefined) return null
  const depth = row.known.length === 0 ? row.depth : DEPTH_MAX
  return {
    kind: 'resolve',
    flake: job.subject,
    source: row.source,
    branch: row.branch,
    known: row.known,
    depth,
  }
}

const EVALUATE = `
with begun as (
  update commit c set state = 'evaluating' from flake f
  where c.id = $1 and f.id = c.flake_id and f.active
  returning c.flake_id, c.rev, f.source, f.branch
)
select flake_id as flake, rev, source, branch from begun`

async function evaluateWork(transaction: Database, job: ClaimedJob): Promise<JobPayload | null> {
  const { rows } = await transaction.query<{
    flake: string
    rev: string
    source: FlakeSource
    branch: string
  }>(EVALUATE, [job.subject])
  const [row] = rows
  return row === undefined ? null : { kind: 'evaluate', commit: job.subject, ...row }
}

const BUILD = `
with begun as (
  update derivation d set state = 'building', attempts = attempts + 1
  where d.id = $1 and d.state in ('pending', 'building', 'failed')
  returning d.id, d.drv_path, d.out_path, d.export_key
)
select b.drv_path, b.out_path, b.export_key, f.source, f.branch, c.rev, g.name as configuration, e.evaluator
from begun b
join evaluation e on e.derivation_id = b.id
join commit c on c.id = e.commit_id
join configuration g on g.id = e.configuration_id
join flake f on f.id = c.flake_id
where f.active
order by c.on_branch desc, c.position desc, g.name
limit 1`

type BuildRow = {
  drv_path: string
  out_path: string
  export_key: string | null
  source: FlakeSource
  branch: string
  rev: string
  configuration: string
  evaluator: string
}

async function buildWork(transaction: Database, job: ClaimedJob): Promise<JobPayload | null> {
  const { rows } = await transaction.query<BuildRow>(BUILD, [job.subject])
  const [row] = rows
  if (row === undefined) return null
  const memoryFactor = job.notes.memory_factor ?? 1
  return { kind: 'build', derivation: job.subject, ...row, memory_factor: memoryFactor }
}

const SCAN = 'select drv_path, out_path from derivation where id = $1'

async function scanWork(transaction: Database, job: ClaimedJob): Promise<JobPayload | null> {
  const { rows } = await transaction.query<{ drv_path: string; out_path: string }>(SCAN, [job.subject])
  const [row] = rows
  return row === undefined ? null : { kind: 'scan', derivation: job.subject, ...row }
}

/** How far back a branch is read when something of it is known already; the limit of the message. */
const DEPTH_MAX = 100
