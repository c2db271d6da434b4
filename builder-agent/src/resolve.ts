import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { fetchBranch, type GitFailure, isAncestor, listCommits } from '@crystal-forge/nix-cli'
import type { FlakeSource, JobResult, ResolvePayload } from '@crystal-forge/protocol'
import { failed, oneLine } from './failed.ts'
import type { JobContext } from './job-context.ts'

/**
 * Asks the forge itself what the branch is: a webhook is only a hint. Answers the commits that the control plane does
 * not know, oldest first, with the times that the commits carry.
 */
export async function resolve(context: JobContext, work: ResolvePayload): Promise<JobResult['result']> {
  const { machine, lease } = context
  const git = { ...machine.git, signal: lease.signal }
  const mirror = join(machine.config.state_directory, 'mirrors', mirrorName(work.source))
  lease.report({ phase: 'fetch', done: 0, total: 1, unit: 'branch', note: oneLine(work.branch, 200) })
  const head = await fetchBranch(git, { repository: work.source, branch: work.branch, mirror })
  if (head.kind === 'failed') return gitFailed(head)
  const since = await newestAncestor(context, work, mirror)
  if (typeof since === 'object' && since !== null) return gitFailed(since)
  const listed = await listCommits(git, {
    mirror,
    branch: work.branch,
    since,
    // From a known commit every later one counts; at the first time and after a rewrite only the last few.
    max: since === null ? work.depth : COMMITS_MAX,
  })
  if (listed.kind === 'failed') return gitFailed(listed)
  const commits = listed.commits.toReversed().map(({ rev, committedAt, subject }) => ({
    rev,
    committed_at: committedAt,
    subject: oneLine(subject, 200),
  }))
  const continues = work.known.length === 0 || since !== null
  const base = since === null ? {} : { base: since }
  return { outcome: 'succeeded', succeeded: { kind: 'resolve', commits, head: head.rev, continues, ...base } }
}

/** The newest known revision that the branch still holds; null when there is none, as after a rewrite. */
async function newestAncestor(
  { machine, lease }: JobContext,
  work: ResolvePayload,
  mirror: string,
): Promise<string | null | GitFailure> {
  const git = { ...machine.git, signal: lease.signal }
  for (const rev of work.known) {
    const answer = await isAncestor(git, { mirror, rev, of: `refs/heads/${work.branch}` })
    if (answer.kind === 'ancestor') return rev
    if (answer.kind === 'failed') return answer
  }
  return null
}

/** One mirror a repository, whatever flakes of it are watched. */
function mirrorName(source: FlakeSource): string {
  const { dir: _, ...repository } = source
  return createHash('sha256').update(JSON.stringify(repository)).digest('hex').slice(0, 32)
}

function gitFailed(failure: GitFailure): JobResult['result'] {
  switch (failure.class) {
    case 'timeout':
      return failed('timeout', failure.message)
    case 'cancelled':
      return failed('cancelled', failure.message)
    case 'unreachable':
    case 'auth':
    case 'unknown-ref':
    case 'other':
      // A forge that refuses us today may know us tomorrow; the flake shows the message meanwhile.
      return failed('infra', failure.message)
  }
}

/** The limit of the message. Of a branch that moved further the oldest new commits are left out; hosts want the newest. */
const COMMITS_MAX = 200
