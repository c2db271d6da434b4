import { packageDifferences } from '@crystal-forge/control-plane'
import {
  type Closure,
  commitsBetween,
  type Database,
  type DriftRow,
  type FindingRow,
  listDriftWithCounts,
  listFindings,
  readClosure,
  showDrift,
} from '@crystal-forge/postgres'
import { parseStorePath, type StorePath } from '@crystal-forge/protocol'
import { type Context, type Endpoints, list, show } from '../operator-endpoint.ts'
import { DRIFT_FILTERS, driftItem } from './systems.ts'

/** How hosts differ from what is desired of them. */
export function driftEndpoints(context: Context): Endpoints {
  return {
    'GET /v1/drift': list(context, DRIFT_FILTERS, async (database, wanted, page) => {
      const selected = { ...wanted, active: true }
      const listed = await listDriftWithCounts(database, selected, page)
      return { ...listed, items: listed.items.map((row) => driftItem(row, context.now())) }
    }),
    'GET /v1/systems/{system}/drift': show(context, 'system', async (database, name) => {
      const row = await showDrift(database, name)
      if (row === null) return null
      return {
        ...driftItem(row, context.now()),
        commits: await missedCommits(database, row),
        ...(await differences(database, row)),
        findings: await findingsOf(database, row),
      }
    }),
  }
}

async function missedCommits(database: Database, row: DriftRow): Promise<unknown[]> {
  const { flake_id: flake, running_position: after, desired_position: upTo } = row
  if (flake === null || after === null || upTo === null) return []
  return await commitsBetween(database, { flake, after, upTo, most: COMMITS_MAX })
}

/** The difference in packages, or which closure is not known: an unknown closure is never an empty difference. */
async function differences(database: Database, row: DriftRow): Promise<Record<string, unknown>> {
  const { current_path: running, desired_path: desired } = row
  const runningClosure = running === null ? null : await readClosure(database, running)
  const desiredClosure =
    desired === running || desired === null ? runningClosure : await readClosure(database, desired)
  if (runningClosure === null || desiredClosure === null || desired === null) {
    const isUnknown = {
      running: runningClosure === null,
      desired: desired === null || desiredClosure === null,
    }
    return { packages: null, closure_unknown: unknownSide(isUnknown) }
  }
  const found = packageDifferences(storePaths(runningClosure), storePaths(desiredClosure))
  const { rebuiltPaths, ...packages } = found
  return { packages: { ...packages, rebuilt_paths: rebuiltPaths }, closure_unknown: null }
}

function unknownSide(isUnknown: {
  readonly running: boolean
  readonly desired: boolean
}): 'running' | 'desired' | 'both' {
  if (isUnknown.running && isUnknown.desired) return 'both'
  return isUnknown.running ? 'running' : 'desired'
}

function storePaths(closure: Closure): StorePath[] {
  return closure.paths.flatMap((path) => parseStorePath(path) ?? [])
}

/** Findings of the path that it runs, with how that was looked at: without a scan the list says nothing. */
async function findingsOf(
  database: Database,
  row: DriftRow,
): Promise<{ scan_state: string; items: readonly FindingRow[]; more: boolean }> {
  const everything = { environment: null, flake: null, cve: null, package: null, minCvss: null }
  const page = { limit: FINDINGS_MAX, after: null }
  const { items, next } = await listFindings(database, { ...everything, system: row.system_id }, page)
  return { scan_state: row.running_scan_state, items, more: next !== null }
}

/** Enough to read; the list of commits has them all. */
const COMMITS_MAX = 50
const FINDINGS_MAX = 100
