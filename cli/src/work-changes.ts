import type { Row } from './api.ts'
import { progressText } from './progress.ts'
import { oneLine } from './table.ts'

/** What one look at the control plane shows. */
export type Look = {
  /** Every job that waits or runs. */
  readonly open: readonly Row[]
  /** Jobs that may be over; those that were open and are not any more are among them. */
  readonly recent: readonly Row[]
  /** How many hosts have each verdict. */
  readonly verdicts: Readonly<Record<string, number>>
  /** Every host, or null where there are too many to name them. */
  readonly hosts: readonly Row[] | null
}

export type Change =
  | { readonly kind: 'job'; readonly text: string; readonly job: Row; readonly progress: boolean }
  | { readonly kind: 'host'; readonly text: string; readonly host: Row }
  | { readonly kind: 'hosts'; readonly text: string; readonly verdicts: Look['verdicts'] }

/** What was seen last: a line for each job, each host and the fleet. */
export type Seen = {
  readonly jobs: ReadonlyMap<string, { readonly standing: string; readonly progress: string | null }>
  readonly open: ReadonlySet<string>
  readonly hosts: ReadonlyMap<string, string>
  readonly fleet: string
}

/** What differs from the look before, in the order in which a person wants to read it. At first: what is open, and the fleet. */
export function changesSince(
  before: Seen | null,
  look: Look,
): { readonly seen: Seen; readonly changes: readonly Change[] } {
  const jobs = new Map([...look.recent, ...look.open].map((job) => [String(job['id']), job]))
  const seen: Seen = {
    // Ids begin with their time: the oldest first. What dropped out of the list of recent jobs stays known.
    jobs: new Map([
      ...(before?.jobs ?? []),
      ...[...jobs].map(([id, job]) => [id, { standing: standing(job), progress: progressOf(job) }] as const),
    ]),
    open: new Set(look.open.map((job) => String(job['id']))),
    hosts: new Map((look.hosts ?? []).map((host) => [String(host['hostname']), verdictOf(host)])),
    fleet: fleetText(look.verdicts),
  }
  const changedJobs = [...jobs]
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .flatMap(([id, job]) => jobChange(before, seen.open.has(id), job))
  const changedHosts =
    before === null
      ? []
      : (look.hosts ?? []).flatMap((host) => hostChange(before.hosts.get(String(host['hostname'])), host))
  const fleet: Change[] =
    before?.fleet === seen.fleet
      ? []
      : [{ kind: 'hosts', text: `hosts: ${seen.fleet}`, verdicts: look.verdicts }]
  return { seen, changes: [...changedJobs, ...changedHosts, ...fleet] }
}

/** `2 up_to_date, 1 behind`, in an order that does not depend on the answer's. */
export function fleetText(verdicts: Look['verdicts']): string {
  const known = Object.entries(verdicts).sort(([one], [other]) => (one < other ? -1 : 1))
  return known.map(([verdict, hosts]) => `${hosts} ${verdict}`).join(', ') || 'none'
}

/** A job as a person calls it: `build nginx-1.26.2`. */
export function jobName(job: Row): string {
  return `${String(job['kind'])} ${String(job['about'] ?? job['subject'])}`
}

function jobChange(before: Seen | null, open: boolean, job: Row): Change[] {
  const known = before?.jobs.get(String(job['id']))
  if (before === null && !open) return []
  const now = { standing: standing(job), progress: progressOf(job) }
  if (known?.standing === now.standing && known.progress === now.progress) return []
  const progress = known?.standing === now.standing
  const far = now.progress === null ? '' : `: ${now.progress}`
  return [{ kind: 'job', text: oneLine(`${jobName(job)}  ${now.standing}${far}`), job, progress }]
}

function standing(job: Row): string {
  const attempt = Number(job['attempt']) > 1 ? `, attempt ${String(job['attempt'])}` : ''
  switch (job['state']) {
    case 'leased':
      return `runs on ${String(job['builder'])}${attempt}`
    case 'queued':
      return `waits${attempt}`
    case 'failed':
      return `failed: ${firstLine(job['failure_message'])} (cf job show ${String(job['id'])})`
    default:
      return `${String(job['state'])}${attempt}`
  }
}

/** Only a job that runs is on its way; what a finished one said last is no news. */
function progressOf(job: Row): string | null {
  return job['state'] === 'leased' ? progressText(job['progress']) : null
}

function hostChange(before: string | undefined, host: Row): Change[] {
  const verdict = verdictOf(host)
  if (before === verdict) return []
  const from = before === undefined ? '' : `${before} -> `
  return [
    {
      kind: 'host',
      text: oneLine(`${String(host['hostname'])}  ${from}${verdict}: ${firstLine(host['because'])}`),
      host,
    },
  ]
}

function verdictOf(host: Row): string {
  const behind = Number(host['commits_behind'])
  return `${String(host['verdict'])}${behind > 0 ? ` by ${behind}` : ''}`
}

function firstLine(text: unknown): string {
  return String(text ?? 'no reason was given').split('\n', 1)[0] ?? ''
}
