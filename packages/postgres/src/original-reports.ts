import type { OriginalReports, OriginalSender } from '@crystal-forge/control-plane'
import { type IngestedRow, ingestedOf, reportColumns } from './agent-reports.ts'
import type { Database } from './connect.ts'

const FIND = `
select key_id, tenant_id, system_id, hostname, public_key, status, key_until, tenant_until, rfc9421_used_at, last_micros
from find_original_keys($1, $2)`

const INGEST = 'select outcome, kind, received_at from ingest_original_report($1, $2::jsonb, $3, $4, $5)'

type KeyRow = {
  key_id: string
  tenant_id: string
  system_id: string
  hostname: string
  public_key: Buffer
  status: 'active' | 'revoked'
  key_until: Date
  tenant_until: Date | null
  rfc9421_used_at: Date | null
  last_micros: number | null
}

/** Reports over the original's wire in Postgres. */
export function originalReports(database: Database): OriginalReports {
  return {
    async findSenders(hostname, most) {
      const { rows } = await database.query<KeyRow>(FIND, [hostname, most])
      return rows.map(senderOf)
    },
    async ingest(report, stampedMicros) {
      const { state, tenant, body } = report
      const columns = JSON.stringify(reportColumns(report))
      const values = [tenant, columns, body, state?.event.body ?? null, stampedMicros]
      const { rows } = await database.query<IngestedRow | StaleRow>(INGEST, values)
      const [row] = rows
      if (row === undefined) throw new Error('a report came back without an outcome')
      return row.outcome === 'stale' ? { kind: 'stale' } : ingestedOf(row)
    },
  } satisfies OriginalReports
}

type StaleRow = { outcome: 'stale' }

function senderOf(row: KeyRow): OriginalSender {
  const publicKey = new Uint8Array(row.public_key)
  const { tenant_id: tenant, system_id: system, hostname, key_id: keyId } = row
  return {
    sender: { kind: 'agent', tenant, system, hostname, keyId, publicKey },
    key: {
      publicKey,
      hostname,
      status: row.status,
      allowedUntil: row.key_until,
      hasUsedNewProfile: row.rfc9421_used_at !== null,
      lastTimestampMicros: row.last_micros,
    },
    tenantUntil: row.tenant_until,
  }
}
