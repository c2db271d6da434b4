import * as z from 'zod'
import type { Row } from './api.ts'
import { oneLine, safeText } from './table.ts'

const versions = z.object({ name: z.string(), versions: z.array(z.string()) })
const hostDrift = z.object({
  hostname: z.string(),
  verdict: z.string(),
  because: z.string(),
  flake: z.string().nullable(),
  configuration: z.string().nullable(),
  policy: z.string(),
  health: z.string(),
  seen_at: z.string().nullable(),
  commits_behind: z.number().nullable(),
  desired_path: z.string().nullable(),
  profile_path: z.string().nullable(),
  current_path: z.string().nullable(),
  booted_path: z.string().nullable(),
  reboot_needed: z.boolean(),
  not_persisted: z.boolean(),
  evaluation_error: z.string().nullable(),
  evaluation_error_rev: z.string().nullable(),
  build_error: z.string().nullable(),
  commits: z.array(z.object({ rev: z.string(), subject: z.string() })),
  packages: z
    .object({
      added: z.array(versions),
      removed: z.array(versions),
      changed: z.array(z.object({ name: z.string(), from: z.array(z.string()), to: z.array(z.string()) })),
      rebuilt_paths: z.number(),
    })
    .nullable(),
  closure_unknown: z.string().nullable(),
  findings: z.object({
    scan_state: z.string(),
    items: z.array(
      z.object({ cve: z.string(), severity: z.string(), package: z.string(), version: z.string() }),
    ),
    more: z.boolean(),
  }),
})
type HostDrift = z.output<typeof hostDrift>

/** The drift of one host for people: verdict, the four paths, missed commits, packages, findings. */
export function renderDrift(answer: Row): string {
  const drift = hostDrift.parse(answer)
  return [
    ...heading(drift),
    '',
    ...paths(drift),
    ...errors(drift),
    ...commits(drift),
    ...packages(drift),
    ...findings(drift),
  ].join('\n')
}

function heading(drift: HostDrift): string[] {
  const follows = drift.flake === null ? 'follows no flake' : `follows ${drift.flake}#${drift.configuration}`
  return [
    oneLine(`${drift.hostname}  ${drift.verdict}: ${drift.because}`),
    oneLine(`${follows}, policy ${drift.policy}, ${drift.health}, last seen ${drift.seen_at ?? 'never'}`),
  ]
}

/** Each path is compared with the desired one, so that the eye finds what differs. */
function paths(drift: HostDrift): string[] {
  const compare = (path: string | null): string => {
    if (path === null) return 'unknown'
    return path === drift.desired_path ? `${path}  (as desired)` : path
  }
  const notes = [
    ...(drift.reboot_needed ? ['  the booted system is not the current one: a reboot would change it'] : []),
    ...(drift.not_persisted
      ? ['  the profile is not the current system: a reboot would undo the switch']
      : []),
  ]
  return [
    `  desired  ${drift.desired_path ?? 'unknown'}`,
    `  profile  ${compare(drift.profile_path)}`,
    `  current  ${compare(drift.current_path)}`,
    `  booted   ${compare(drift.booted_path)}`,
    ...notes,
  ].map(oneLine)
}

function errors(drift: HostDrift): string[] {
  const lines: string[] = []
  if (drift.evaluation_error !== null)
    lines.push(
      '',
      `commit ${drift.evaluation_error_rev?.slice(0, 12)} does not evaluate:`,
      indented(drift.evaluation_error),
    )
  if (drift.build_error !== null)
    lines.push('', 'the desired system does not build:', indented(drift.build_error))
  return lines
}

function commits(drift: HostDrift): string[] {
  if (drift.commits.length === 0) return []
  const more = (drift.commits_behind ?? 0) - drift.commits.length
  return [
    '',
    `${drift.commits_behind} ${drift.commits_behind === 1 ? 'commit' : 'commits'} behind:`,
    ...drift.commits.map(({ rev, subject }) => oneLine(`  ${rev.slice(0, 12)}  ${subject}`)),
    ...(more > 0 ? [`  and ${more} more`] : []),
  ]
}

function packages(drift: HostDrift): string[] {
  const { packages: found, closure_unknown: unknown } = drift
  if (found === null) {
    const which =
      unknown === 'both' ? 'neither the running nor the desired closure' : `the ${unknown} closure`
    return ['', `packages: ${which} is ${unknown === 'both' ? '' : 'not '}known, so nothing can be compared`]
  }
  const list = (values: readonly string[]): string =>
    values.map((value) => value || '(no version)').join(', ')
  const lines = [
    ...found.changed.map(({ name, from, to }) => `  ~ ${name}  ${list(from)} -> ${list(to)}`),
    ...found.added.map((one) => `  + ${one.name}  ${list(one.versions)}`),
    ...found.removed.map((one) => `  - ${one.name}  ${list(one.versions)}`),
    ...(found.rebuilt_paths > 0
      ? [`  ${found.rebuilt_paths} paths of the same versions were built anew`]
      : []),
  ]
  return [
    '',
    lines.length === 0 ? 'packages: no difference' : 'packages, running to desired:',
    ...lines.map(oneLine),
  ]
}

function findings(drift: HostDrift): string[] {
  const { scan_state: state, items, more } = drift.findings
  switch (state) {
    case 'unscanned':
      return ['', 'vulnerabilities: what it runs was never scanned']
    case 'no_scanner':
      return ['', 'vulnerabilities: no builder has a scanner, so nothing is known']
    case 'failed':
      return ['', 'vulnerabilities: the scan failed, so nothing is known']
    default: {
      const lines = items.map((one) =>
        oneLine(`  ${one.cve}  ${one.severity}  ${one.package} ${one.version}`),
      )
      const head =
        items.length === 0 ? 'vulnerabilities: the scan found none' : 'vulnerabilities of what it runs:'
      return ['', head, ...lines, ...(more ? ['  and more: cf findings'] : [])]
    }
  }
}

function indented(text: string): string {
  const lines = safeText(text.trimEnd()).split('\n')
  const shown = lines.slice(0, ERROR_LINES_MAX).map((line) => `  ${line}`)
  return [
    ...shown,
    ...(lines.length > shown.length ? [`  … ${lines.length - shown.length} more lines`] : []),
  ].join('\n')
}

const ERROR_LINES_MAX = 30
