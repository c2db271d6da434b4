import type { ControlFactsStore, RecordedFacts, VerifiedFacts } from '@crystal-forge/control-plane'
import type pg from 'pg'
import { evidenceOf, keepEvidence, recordEvent } from './audit-events.ts'
import type { Database } from './connect.ts'
import { claimNonce } from './request-nonces.ts'
import { inTransactionIf } from './transaction-if.ts'

/** The caller is looked up once more by the statement that writes, so a revocation holds for the very next message. */
const CALLER = `
select s.id from system_key k join system s on s.id = k.system_id
where k.key_id = $1 and k.status = 'active' and k.system_id = $2 and s.active and s.hostname = $3`

const FIRST_USE =
  'update system_key set rfc9421_used_at = now() where key_id = $1 and rfc9421_used_at is null'

const INSERT = `
insert into control_facts (id, tenant_id, system_id, message_id, sequence, previous_sha256, boot_id, current_path, booted_path,
                           stig_report_sha256, agent_version, facts, evidence_sha256, collected_at, received_at)
values ($1, cf_tenant(), $2, $3, $4, decode($5, 'hex'), $6, $7, $8, decode($9, 'hex'), $10, $11::jsonb, sha256($12), $13, $14)
on conflict (system_id, message_id) do nothing
returning received_at`

const FIRST_ARRIVAL = 'select received_at from control_facts where system_id = $1 and message_id = $2'

/** Control facts in Postgres: the raw messages, append-only. What follows from them is for others to work out. */
export function controlFactsStore(pool: pg.Pool): ControlFactsStore {
  return {
    record: (facts) =>
      inTransactionIf(pool, {
        scope: { tenant: facts.tenant },
        work: (session) => record(session, facts),
        keep: ({ kind }) => kind === 'recorded' || kind === 'duplicate',
      }),
  } satisfies ControlFactsStore
}

async function record(session: Database, facts: VerifiedFacts): Promise<RecordedFacts> {
  const { tenant, keyId, nonce, expiresAt, system } = facts
  const caller = await session.query(CALLER, [keyId, system, facts.hostname])
  if (caller.rowCount === 0) return { kind: 'refused' }
  if ((await claimNonce(session, { tenant, keyId, nonce, expiresAt })) === 'replayed')
    return { kind: 'replayed' }
  await session.query(FIRST_USE, [keyId])
  const inserted = await session.query<{ received_at: Date }>(INSERT, valuesOf(facts))
  if (inserted.rowCount === 0) {
    const { rows } = await session.query<{ received_at: Date }>(FIRST_ARRIVAL, [system, facts.messageId])
    return { kind: 'duplicate', receivedAt: rows[0]?.received_at ?? facts.receivedAt }
  }
  await keepEvidence(session, facts.body)
  await recordEvent(session, {
    type: 'agent.control_facts',
    actor: { kind: 'agent', key: keyId, system },
    detail: {
      ...evidenceOf(facts.body),
      http: facts.http,
      effect: { table: 'control_facts', id: facts.id },
      sequence: facts.sequence,
      assurance: 'rfc9421',
    },
  })
  return { kind: 'recorded', receivedAt: facts.receivedAt }
}

function valuesOf(facts: VerifiedFacts): unknown[] {
  return [
    facts.id,
    facts.system,
    facts.messageId,
    facts.sequence,
    facts.previousSha256,
    facts.bootId,
    facts.currentPath,
    facts.bootedPath,
    facts.stigReportSha256,
    facts.agentVersion,
    JSON.stringify(facts.facts),
    facts.body,
    facts.collectedAt,
    facts.receivedAt,
  ]
}
