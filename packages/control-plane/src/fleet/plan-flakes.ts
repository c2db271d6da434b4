import {
  type FlakeSource,
  type FleetChange,
  type FleetDocument,
  type FleetPlan,
  isBranchName,
} from '@crystal-forge/protocol'
import { fieldChanges, leftOver, stepFor } from './field-changes.ts'
import { flakeLocation } from './flake-location.ts'
import type { FleetOptions, FleetRefusal } from './fleet-refusal.ts'
import type { RegisteredFlake, RegisteredFleet } from './registered-fleet.ts'

/** A declared flake with everything that is stored of it. */
export type PlannedFlake = {
  readonly name: string
  readonly repoUrl: string
  readonly source: FlakeSource
  readonly branch: string
  readonly autoPoll: boolean
  readonly pollIntervalS: number
  readonly initialCommitDepth: number
}

export type FlakesPlan = {
  readonly changes: FleetChange[]
  readonly undeclared: FleetPlan['undeclared']
  readonly planned: PlannedFlake[]
  readonly refusals: FleetRefusal[]
}

export function planFlakes(
  declared: FleetDocument,
  registered: RegisteredFleet,
  options: FleetOptions,
): FlakesPlan {
  const known = new Map(registered.flakes.map((flake) => [flake.name, flake]))
  const changes: FleetChange[] = []
  const planned: PlannedFlake[] = []
  const refusals: FleetRefusal[] = []
  declared.flakes.forEach((wanted, index) => {
    const found = known.get(wanted.name)
    const read = readFlake(wanted, index, { found, admin: options.admin })
    if ('code' in read) {
      refusals.push(read)
      return
    }
    planned.push(read)
    changes.push(step(read, found))
  })
  const names = new Set(declared.flakes.map(({ name }) => name))
  const gone = registered.flakes.filter((flake) => flake.active && !names.has(flake.name))
  const left = leftOver(
    'flake',
    gone.map(({ name }) => name),
    options.prune,
  )
  return { changes: [...changes, ...left.changes], undeclared: left.undeclared, planned, refusals }
}

function readFlake(
  wanted: FleetDocument['flakes'][number],
  index: number,
  context: { readonly found: RegisteredFlake | undefined; readonly admin: boolean },
): PlannedFlake | FleetRefusal {
  const path = `flakes.${index}.repo_url`
  if (wanted.local && !context.admin)
    return {
      code: 'local_needs_admin',
      path: `flakes.${index}.local`,
      detail: `flake "${wanted.name}" is local, which only an admin token may declare`,
    }
  const location = flakeLocation(wanted.repo_url, wanted.local)
  if (!location.ok)
    return {
      code: 'invalid_fleet',
      path,
      // The reason quotes the URL without credentials.
      detail: `repo_url of flake "${wanted.name}" is ${location.because}`,
    }
  if (wanted.branch !== undefined && !isBranchName(wanted.branch))
    return {
      code: 'invalid_fleet',
      path: `flakes.${index}.branch`,
      detail: `branch of flake "${wanted.name}" is ${JSON.stringify(wanted.branch)}, which is no branch name: write one of letters, digits and _./@+-`,
    }
  if (wanted.branch !== undefined && location.branch !== null && wanted.branch !== location.branch)
    return {
      code: 'invalid_fleet',
      path: `flakes.${index}.branch`,
      detail: `flake "${wanted.name}" names two branches, "${wanted.branch}" and "${location.branch}" in its URL: keep one`,
    }
  return {
    name: wanted.name,
    repoUrl: wanted.repo_url,
    source: location.source,
    branch: wanted.branch ?? location.branch ?? context.found?.branch ?? 'main',
    autoPoll: wanted.auto_poll,
    pollIntervalS: wanted.poll_interval_s,
    initialCommitDepth: wanted.initial_commit_depth,
  }
}

function step(wanted: PlannedFlake, found: RegisteredFlake | undefined): FleetChange {
  if (found === undefined) return { action: 'create', kind: 'flake', name: wanted.name }
  const fields = (flake: PlannedFlake | RegisteredFlake): Record<string, unknown> => ({
    repo_url: flake.repoUrl,
    branch: flake.branch,
    auto_poll: flake.autoPoll,
    poll_interval_s: flake.pollIntervalS,
    initial_commit_depth: flake.initialCommitDepth,
  })
  return stepFor(
    { kind: 'flake', name: wanted.name, active: found.active },
    fieldChanges(fields(found), fields(wanted)),
  )
}
