import type { ControlPlane } from './control-plane.ts'

/** A row of `GET /v1/drift`, the members that the demo reads. */
export type DriftItem = {
  readonly hostname: string
  readonly verdict: string
  readonly because: string
  readonly commits_behind: number | null
  readonly current_path: string | null
  readonly desired_path: string | null
  readonly desired_rev: string | null
  readonly head_rev: string | null
  readonly head_state: string | null
  readonly build_state: string | null
  readonly build_error: string | null
  readonly evaluation_error: string | null
  readonly scan_state: string
}

export type Job = {
  readonly id: string
  readonly kind: string
  readonly state: string
  readonly about: string
  readonly attempt: number
}

export async function driftByHost(controlPlane: ControlPlane): Promise<ReadonlyMap<string, DriftItem>> {
  const items = await controlPlane.list<DriftItem>('/v1/drift')
  return new Map(items.map((item) => [item.hostname, item]))
}

/** What is going on, in a few words; equal words mean that nothing moved. */
export async function pipelineSummary(controlPlane: ControlPlane): Promise<string> {
  const jobs = await controlPlane.list<Job>('/v1/jobs')
  const kinds = ['resolve', 'evaluate', 'build', 'scan'].flatMap((kind) => {
    const own = jobs.filter((job) => job.kind === kind)
    if (own.length === 0) return []
    const ended = own.filter(({ state }) => state === 'succeeded' || state === 'failed').length
    const failed = own.filter(({ state }) => state === 'failed').length
    return [`${kind} ${ended}/${own.length}${failed === 0 ? '' : ` (${failed} failed)`}`]
  })
  return kinds.join('   ')
}

/** The last lines of an error say most; two of them fit a screen. */
export function shortError(text: string | null): string {
  const lines = (text ?? 'no error text').split('\n').filter((line) => line.trim() !== '')
  return lines
    .slice(-2)
    .map((line) => line.trim())
    .join(' | ')
    .slice(0, 200)
}
