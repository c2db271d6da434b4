import {
  type Enrolled,
  type Enrolment,
  type Enrolments,
  isForHost,
  namesOneHost,
  type TokenPrincipal,
} from '@crystal-forge/control-plane'
import type { KeyRecord } from '@crystal-forge/protocol'
import type pg from 'pg'
import { evidenceOf, keepEvidence, recordEvent } from './audit-events.ts'
import type { Database } from './connect.ts'
import { claimNonces } from './request-nonces.ts'
import { addSystemKey } from './system-keys.ts'
import { inTransactionIf } from './transaction-if.ts'

const FIND_TOKEN = `
select id, tenant_id, key_id, public_key, hostname_pattern from find_enroll_token($1)`

/** Locked, so that of two requests with one token the second sees what the first did. */
const LOCK_TOKEN = `
select t.used_at is not null as used, t.revoked_at is not null as revoked, t.expires_at <= $2 as expired,
       t.environment_id, t.flake_id, t.used_by_system_id,
       (select k.key_id from system_key k where k.system_id = t.used_by_system_id and k.status = 'active' and k.key_id = $3
        and k.hostname = $4) as made_key
from enroll_token t where t.id = $1 for update`

const USE_TOKEN =
  'update enroll_token set used_at = $2, used_by_system_id = $3 where id = $1 and used_at is null'

const ENSURE_CONFIGURATION = `
insert into configuration (tenant_id, flake_id, name) values (cf_tenant(), $1, $2) on conflict (flake_id, name) do nothing`
const FIND_CONFIGURATION = 'select id from configuration where flake_id = $1 and name = $2'

/** Two tokens for one host at once make one active key, not two. */
const LOCK_HOST = "select pg_advisory_xact_lock(hashtextextended('enrol ' || cf_tenant() || ' ' || $1, 0))"
const ENSURE_SYSTEM = `
insert into system (tenant_id, hostname, environment_id, flake_id, configuration_id)
values (cf_tenant(), $1, $2, $3, $4) on conflict (tenant_id, hostname) do nothing`

const FIND_SYSTEM = `
select s.id, s.active, exists (select from system_key k where k.system_id = s.id and k.status = 'active') as has_key
from system s where s.hostname = $1`

const REPLACE_KEYS = `
update system_key set status = 'revoked', revoked_at = $2, revoked_because = $3
where system_id = $1 and status = 'active' and key_id <> $4 returning key_id`

type TokenRow = {
  id: string
  tenant_id: string
  key_id: string
  public_key: Buffer
  hostname_pattern: string
}
type LockedToken = {
  used: boolean
  revoked: boolean
  expired: boolean
  environment_id: string | null
  flake_id: string | null
  used_by_system_id: string | null
  made_key: string | null
}
type EnrolledSystem = { id: string; active: boolean; has_key: boolean }

/** The token behind a key id, used and expired ones too: that is for `enrol` to say. Not inside a transaction. */
export async function findEnrolToken(
  database: Database,
  keyId: string,
): Promise<KeyRecord<TokenPrincipal> | null> {
  const { rows } = await database.query<TokenRow>(FIND_TOKEN, [keyId])
  const [row] = rows
  if (row === undefined) return null
  const principal: TokenPrincipal = {
    kind: 'token',
    tenant: row.tenant_id,
    token: row.id,
    keyId: row.key_id,
    hostnamePattern: row.hostname_pattern,
  }
  return { status: 'active', publicKey: new Uint8Array(row.public_key), principal }
}

/** Enrolments in Postgres. */
export function enrolments(pool: pg.Pool): Enrolments {
  return {
    enrol: (enrolment) =>
      inTransactionIf(pool, {
        scope: { tenant: enrolment.token.tenant },
        work: (session) => enrol(session, enrolment),
        keep: ({ kind }) => kind === 'enrolled' || kind === 'enrolled_before',
      }),
  } satisfies Enrolments
}

async function enrol(session: Database, enrolment: Enrolment): Promise<Enrolled> {
  const { token, hostname, at } = enrolment
  if (!isForHost(token.hostnamePattern, hostname)) return { kind: 'token_refused', because: 'other_host' }
  if (!(await claimNonces(session, token.tenant, enrolment.spent))) return { kind: 'replayed' }
  const values = [token.token, at, enrolment.keyId, hostname]
  const [locked] = (await session.query<LockedToken>(LOCK_TOKEN, values)).rows
  if (locked === undefined) return { kind: 'token_refused', because: 'expired' }
  if (locked.used) {
    return locked.made_key !== null && locked.used_by_system_id !== null
      ? { kind: 'enrolled_before', system: locked.used_by_system_id }
      : { kind: 'token_refused', because: 'used' }
  }
  if (locked.revoked) return { kind: 'token_refused', because: 'revoked' }
  if (locked.expired) return { kind: 'token_refused', because: 'expired' }
  const system = await ensureSystem(session, enrolment, locked)
  if (!system.active) return { kind: 'system_inactive' }
  if (system.has_key && !namesOneHost(token.hostnamePattern)) return { kind: 'host_has_key' }
  const key = { ...enrolment, tenant: token.tenant, system: system.id }
  if ((await addSystemKey(session, key)) === 'in_use') return { kind: 'key_in_use' }
  await session.query(USE_TOKEN, [token.token, at, system.id])
  await record(session, enrolment, system.id)
  return { kind: 'enrolled', system: system.id }
}

async function ensureSystem(
  session: Database,
  { hostname, configuration }: Enrolment,
  token: LockedToken,
): Promise<EnrolledSystem> {
  await session.query(LOCK_HOST, [hostname])
  const follows =
    token.flake_id === null ? null : await ensureConfiguration(session, token.flake_id, configuration)
  await session.query(ENSURE_SYSTEM, [hostname, token.environment_id, token.flake_id, follows])
  const [system] = (await session.query<EnrolledSystem>(FIND_SYSTEM, [hostname])).rows
  if (system === undefined) throw new Error(`the system ${hostname} was neither found nor made`)
  return system
}

async function ensureConfiguration(session: Database, flake: string, name: string): Promise<string> {
  await session.query(ENSURE_CONFIGURATION, [flake, name])
  const [found] = (await session.query<{ id: string }>(FIND_CONFIGURATION, [flake, name])).rows
  if (found === undefined) throw new Error(`the configuration ${name} was neither found nor made`)
  return found.id
}

/** A host that comes with a token has lost its keys, so the ones it had stop working. */
async function record(session: Database, enrolment: Enrolment, system: string): Promise<void> {
  const { keyId, token, hostname, at, body, http } = enrolment
  const actor = { kind: 'agent' as const, key: keyId, system }
  const because = `replaced by ${keyId}`
  const { rows } = await session.query<{ key_id: string }>(REPLACE_KEYS, [system, at, because, keyId])
  await keepEvidence(session, body)
  for (const { key_id } of rows) {
    await recordEvent(session, { type: 'key.revoked', actor, detail: { key: key_id, because } })
  }
  const detail = { ...evidenceOf(body), http, hostname, key: keyId, token: token.token }
  await recordEvent(session, { type: 'agent.enrolled', actor, detail })
}
