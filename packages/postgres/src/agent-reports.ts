import type { Ingested, Reports, VerifiedReport } from '@crystal-forge/control-plane'
import pg from 'pg'
import type { Database } from './connect.ts'
import { GroupCommit } from './group-commit.ts'

const INGEST = `
select outcome, kind, received_at from ingest_packed_reports($1, $2::jsonb, $3, $4::integer[]) order by n`

/**
 * Reports in Postgres. Calls that arrive while a statement is on its way share the next one, per tenant, one report of a
 * system at a time.
 * @throws {Overloaded} from `ingest` when too many reports wait.
 */
export function agentReports(database: Database): Reports {
  const groups = new GroupCommit<VerifiedReport, Ingested>({
    commit: (reports) => ingestAll(database, reports),
    groupOf: (report) => report.tenant,
    uniqueOf: (report) => report.system,
    isUndone,
    itemsMax: ITEMS_MAX,
    itemsEager: ITEMS_EAGER,
    inFlightMax: IN_FLIGHT_MAX,
    waitingMax: WAITING_MAX,
  })
  return { ingest: (report) => groups.add(report) } satisfies Reports
}

export type IngestedRow = {
  outcome: Ingested['kind']
  kind: 'state' | 'heartbeat'
  received_at: Date
}

async function ingestAll(
  database: Database,
  reports: readonly VerifiedReport[],
): Promise<readonly Ingested[]> {
  const parts = reports.flatMap(({ state, body }) =>
    state === null ? [EMPTY, EMPTY] : [body, state.event.body],
  )
  const values = [
    reports[0]?.tenant,
    JSON.stringify(reports.map(reportColumns)),
    Buffer.concat(parts),
    parts.map(({ length }) => length),
  ]
  const { rows } = await database.query<IngestedRow>({ name: 'ingest_reports', text: INGEST, values })
  return rows.map(ingestedOf)
}

/** The parameter of the SQL function, which documents it. */
export function reportColumns(report: VerifiedReport): object {
  const { state } = report
  return {
    key: report.keyId,
    system: report.system,
    hostname: report.hostname,
    nonce: report.nonce,
    expires_at: report.expiresAt,
    report_id: report.reportId,
    kind: report.kind,
    digest: report.digest,
    collected_at: report.collectedAt,
    received_at: report.receivedAt,
    assurance: report.assurance,
    ...(state === null
      ? {}
      : {
          event_id: state.event.id,
          state: {
            id: state.id,
            change_reason: state.changeReason,
            current_path: state.currentPath,
            booted_path: state.bootedPath,
            profile_path: state.profilePath,
            generation: state.generation,
            boot_id: state.bootId,
            revision: state.revision,
            failed_units: state.failedUnits,
            agent_version: state.agentVersion,
            nixos_version: state.nixosVersion,
            kernel: state.kernel,
            facts: state.facts,
          },
        }),
  }
}

export function ingestedOf({ outcome, kind, received_at }: IngestedRow): Ingested {
  switch (outcome) {
    case 'recorded':
    case 'duplicate':
      return { kind: outcome, as: kind, receivedAt: received_at }
    case 'replayed':
    case 'state_required':
    case 'refused':
      return { kind: outcome }
  }
}

/**
 * The server answered with an error, so the statement was rolled back. A connection that broke says nothing of the kind:
 * then the reports may be recorded, and trying again would call them replayed.
 */
function isUndone(error: unknown): boolean {
  return error instanceof pg.DatabaseError && !/^(08|57)/.test(error.code ?? '08')
}

const EMPTY = new Uint8Array()
/** One statement of 64 reports takes about as long as a flush to disk; more would only add waiting. */
const ITEMS_MAX = 64
/** Half of the fixed cost of a statement is saved by then. */
const ITEMS_EAGER = 24
/** While one flushes, the next one computes and a third one is on its way. */
const IN_FLIGHT_MAX = 3
/** Some seconds of a busy fleet; a host that is turned away has its spool. */
const WAITING_MAX = 2048
