import { createHash, randomBytes } from 'node:crypto'
import {
  changesSomething,
  type FleetOptions,
  type FleetRefusal,
  type PlannedFleet,
  planFleet,
  type SealingKey,
  seal,
} from '@crystal-forge/control-plane'
import {
  canonicalJson,
  type FleetChange,
  type FleetDocument,
  type FleetPlan,
  keyId,
  parsePublicKey,
} from '@crystal-forge/protocol'
import type pg from 'pg'
import { type Actor, keepEvidence, recordEvent } from './audit-events.ts'
import type { Database } from './connect.ts'
import { pollFlake } from './flakes.ts'
import { readRegisteredFleet } from './registered-fleet.ts'
import { isDuplicate } from './systems.ts'
import { inTransaction } from './transaction.ts'

export type FleetApplication = {
  readonly tenant: string
  readonly actor: Actor
  readonly declared: FleetDocument
  readonly options: FleetOptions & { readonly dryRun: boolean }
  readonly sealingKey: SealingKey
}
export type FleetOutcome =
  | { readonly ok: true; readonly plan: FleetPlan }
  | { readonly ok: false; readonly refusals: readonly FleetRefusal[] }

/**
 * Brings a tenant to its declared state, or says what that would change. One transaction, one at a time for a tenant, one
 * `config.changed` event; a declaration that changes nothing writes nothing. A refusal changes nothing either.
 */
export async function applyFleet(pool: pg.Pool, request: FleetApplication): Promise<FleetOutcome> {
  try {
    return await inTransaction(pool, { tenant: request.tenant }, (transaction) => apply(transaction, request))
  } catch (error) {
    if (!isDuplicate(error)) throw error
    // Every key that this tenant can see was compared before, so the owner is somebody whom it must not learn of.
    const detail = 'a declared public_key is in use elsewhere: make a new pair with cf keygen'
    return { ok: false, refusals: [{ code: 'key_in_use', path: '', detail }] }
  }
}

const ONE_AT_A_TIME = "select pg_advisory_xact_lock(hashtextextended('fleet of ' || cf_tenant(), 0))"

async function apply(transaction: Database, request: FleetApplication): Promise<FleetOutcome> {
  await transaction.query(ONE_AT_A_TIME)
  const { declared, options } = request
  const registered = await readRegisteredFleet(transaction, request.sealingKey)
  const planning = planFleet(declared, registered, options)
  if (!planning.ok) return planning
  const { plan } = planning
  if (options.dryRun || !changesSomething(plan)) {
    const { changes, undeclared } = plan
    return { ok: true, plan: { applied: !options.dryRun, changes: [...changes], undeclared } }
  }
  const touched = touchedNames(plan)
  await writeEnvironments(transaction, declared, touched('environment'))
  await writeFlakes(transaction, plan, touched('flake'))
  const paths = await writeHooks(transaction, request, touched('hook'))
  await writeBuilders(transaction, touched('builder'))
  await writeSystems(transaction, plan, touched('system'))
  await writeKeys(transaction, plan)
  await deactivate(transaction, plan)
  const changes = plan.changes.map((change) => withPath(change, paths))
  await record(transaction, request.actor, changes)
  return { ok: true, plan: { applied: true, changes, undeclared: plan.undeclared } }
}

/** The names of a kind that are written; what is kept or deactivated is not among them. */
function touchedNames(plan: PlannedFleet): (kind: FleetChange['kind']) => ReadonlySet<string> {
  const written = plan.changes.filter(({ action }) => action !== 'keep' && action !== 'deactivate')
  return (kind) => new Set(written.filter((change) => change.kind === kind).map(({ name }) => name))
}

const PUT_ENVIRONMENTS = `
insert into environment (tenant_id, name, description, risk_profile, compliance_level, active)
select cf_tenant(), e.name, coalesce(e.description, ''), coalesce(e.risk_profile, 'MEDIUM'),
       coalesce(e.compliance_level, 'NONE'), coalesce(e.is_active, true)
from jsonb_to_recordset($1) e (name text, description text, risk_profile text, compliance_level text, is_active boolean)
on conflict (tenant_id, name) do update
set description = excluded.description, risk_profile = excluded.risk_profile,
    compliance_level = excluded.compliance_level, active = excluded.active`

async function writeEnvironments(
  transaction: Database,
  declared: FleetDocument,
  touched: ReadonlySet<string>,
): Promise<void> {
  if (touched.size === 0) return
  const byName = new Map(declared.environments.map((environment) => [environment.name, environment]))
  const rows = [...touched].map((name) => byName.get(name) ?? { name })
  await transaction.query(PUT_ENVIRONMENTS, [JSON.stringify(rows)])
}

const PUT_FLAKES = `
insert into flake (tenant_id, name, repository_url, source, branch, auto_poll, poll_interval_s, initial_commit_depth)
select cf_tenant(), f.name, f."repoUrl", f.source, f.branch, f."autoPoll", f."pollIntervalS", f."initialCommitDepth"
from jsonb_to_recordset($1) f (name text, "repoUrl" text, source jsonb, branch text, "autoPoll" boolean,
                               "pollIntervalS" integer, "initialCommitDepth" integer)
on conflict (tenant_id, name) do update
set repository_url = excluded.repository_url, source = excluded.source, branch = excluded.branch,
    auto_poll = excluded.auto_poll, poll_interval_s = excluded.poll_interval_s,
    initial_commit_depth = excluded.initial_commit_depth, active = true
returning id`

/** Whatever changed about a flake is a reason to look at its branch now. */
async function writeFlakes(
  transaction: Database,
  plan: PlannedFleet,
  touched: ReadonlySet<string>,
): Promise<void> {
  if (touched.size === 0) return
  const flakes = plan.flakes.filter(({ name }) => touched.has(name))
  const { rows } = await transaction.query<{ id: string }>(PUT_FLAKES, [JSON.stringify(flakes)])
  for (const { id } of rows) await pollFlake(transaction, id)
}

const FIND_HOOK = `
select f.id as flake, h.id from flake f left join hook h on h.flake_id = f.id and h.provider = $2 where f.name = $1`
const PUT_HOOK = `
insert into hook (id, tenant_id, flake_id, provider, secret_sealed) values ($1, cf_tenant(), $2, $3, $4)
on conflict (id) do update
set previous_secret_sealed = hook.secret_sealed, secret_sealed = excluded.secret_sealed, active = true`
const REACTIVATE_HOOK = 'update hook set active = true where id = $1'

async function writeHooks(
  transaction: Database,
  request: FleetApplication,
  touched: ReadonlySet<string>,
): Promise<ReadonlyMap<string, string>> {
  const paths = new Map<string, string>()
  for (const { flake, provider, secret } of request.declared.hooks) {
    const name = `${flake}/${provider}`
    if (!touched.has(name)) continue
    const [row] = (
      await transaction.query<{ flake: string; id: string | null }>(FIND_HOOK, [flake, provider])
    ).rows
    const id = row?.id ?? randomBytes(HOOK_ID_BYTES).toString('base64url')
    if (secret === undefined) await transaction.query(REACTIVATE_HOOK, [id])
    else {
      const sealed = seal(Buffer.from(secret, 'utf8'), id, request.sealingKey)
      await transaction.query(PUT_HOOK, [id, row?.flake, provider, sealed])
    }
    paths.set(name, `/v1/hooks/${id}`)
  }
  return paths
}

const PUT_BUILDERS = `
insert into builder (tenant_id, name) select cf_tenant(), unnest($1::text[])
on conflict (tenant_id, name) do update set active = true`

async function writeBuilders(transaction: Database, touched: ReadonlySet<string>): Promise<void> {
  if (touched.size > 0) await transaction.query(PUT_BUILDERS, [[...touched]])
}

const SYSTEM_ROWS = `jsonb_to_recordset($1) s (hostname text, environment text, flake text, configuration text, policy text,
                               "desiredTarget" text)`
const PUT_CONFIGURATIONS = `
insert into configuration (tenant_id, flake_id, name)
select distinct cf_tenant(), f.id, s.configuration from ${SYSTEM_ROWS} join flake f on f.name = s.flake
on conflict (flake_id, name) do nothing`
const PUT_SYSTEMS = `
insert into system (tenant_id, hostname, environment_id, flake_id, configuration_id, policy, desired_target)
select cf_tenant(), s.hostname, e.id, f.id, c.id, s.policy, s."desiredTarget"
from ${SYSTEM_ROWS}
left join environment e on e.name = s.environment
left join flake f on f.name = s.flake
left join configuration c on c.flake_id = f.id and c.name = s.configuration
on conflict (tenant_id, hostname) do update
set environment_id = excluded.environment_id, flake_id = excluded.flake_id,
    configuration_id = excluded.configuration_id, policy = excluded.policy, desired_target = excluded.desired_target,
    active = true, deactivated_at = null`

async function writeSystems(
  transaction: Database,
  plan: PlannedFleet,
  touched: ReadonlySet<string>,
): Promise<void> {
  if (touched.size === 0) return
  const systems = JSON.stringify(plan.systems.filter(({ hostname }) => touched.has(hostname)))
  await transaction.query(PUT_CONFIGURATIONS, [systems])
  await transaction.query(PUT_SYSTEMS, [systems])
}

const KEY_ROWS = 'jsonb_to_recordset($1) k (owner text, name text, "keyId" text, key text)'
const PUT_SYSTEM_KEYS = `
with put as (
  insert into system_key (key_id, tenant_id, system_id, hostname, public_key)
  select k."keyId", cf_tenant(), s.id, s.hostname, decode(k.key, 'base64')
  from ${KEY_ROWS} join system s on s.hostname = k.name where k.owner = 'system'
  returning key_id, system_id
)
update system_key old set status = 'revoked', revoked_at = now(), revoked_because = 'replaced by the declaration'
from put where old.system_id = put.system_id and old.status = 'active' and old.key_id <> put.key_id`
const PUT_BUILDER_KEYS = `
with put as (
  insert into builder_key (key_id, tenant_id, builder_id, public_key)
  select k."keyId", cf_tenant(), b.id, decode(k.key, 'base64')
  from ${KEY_ROWS} join builder b on b.name = k.name where k.owner = 'builder'
  returning key_id, builder_id
)
update builder_key old set status = 'revoked', revoked_at = now()
from put where old.builder_id = put.builder_id and old.status = 'active' and old.key_id <> put.key_id`

async function writeKeys(transaction: Database, plan: PlannedFleet): Promise<void> {
  if (plan.keys.length === 0) return
  const rows = plan.keys.map(({ owner, name, publicKey }) => {
    const bytes = parsePublicKey(publicKey)
    if (bytes === null) throw new Error(`the plan holds a key of ${owner} ${name} that is none`)
    return { owner, name, keyId: keyId(bytes), key: publicKey }
  })
  await transaction.query(PUT_SYSTEM_KEYS, [JSON.stringify(rows)])
  await transaction.query(PUT_BUILDER_KEYS, [JSON.stringify(rows)])
}

const DEACTIVATE_FLAKES = 'update flake set active = false where name = any ($1)'
const DEACTIVATE_HOOKS = `
update hook h set active = false from flake f where f.id = h.flake_id and f.name || '/' || h.provider = any ($1)`
const DEACTIVATE_BUILDERS = 'update builder set active = false where name = any ($1)'
const DEACTIVATE_SYSTEMS =
  'update system set active = false, deactivated_at = now() where hostname = any ($1)'

async function deactivate(transaction: Database, plan: PlannedFleet): Promise<void> {
  const gone = plan.changes.filter(({ action }) => action === 'deactivate')
  const statements = [
    ['flake', DEACTIVATE_FLAKES],
    ['hook', DEACTIVATE_HOOKS],
    ['builder', DEACTIVATE_BUILDERS],
    ['system', DEACTIVATE_SYSTEMS],
  ] as const
  for (const [kind, statement] of statements) {
    const names = gone.filter((change) => change.kind === kind).map(({ name }) => name)
    if (names.length > 0) await transaction.query(statement, [names])
  }
}

function withPath(change: FleetChange, paths: ReadonlyMap<string, string>): FleetChange {
  const path = change.kind === 'hook' ? paths.get(change.name) : undefined
  return path === undefined ? change : { ...change, path }
}

/** The whole plan is kept as evidence; the event holds its digest, and the plan itself where it is small. */
async function record(transaction: Database, actor: Actor, changes: readonly FleetChange[]): Promise<void> {
  const made = changes.filter(({ action }) => action !== 'keep')
  const body = Buffer.from(canonicalJson(made), 'utf8')
  await keepEvidence(transaction, body)
  const count = (action: FleetChange['action']): number => made.filter((one) => one.action === action).length
  await recordEvent(transaction, {
    type: 'config.changed',
    actor,
    detail: {
      change: 'fleet',
      created: count('create'),
      updated: count('update'),
      deactivated: count('deactivate'),
      reactivated: count('reactivate'),
      evidence: { sha256: createHash('sha256').update(body).digest('hex'), bytes: body.length },
      ...(body.length <= EVENT_CHANGES_BYTES_MAX ? { changes: made } : {}),
    },
  })
}

/** 192 bits: an id that is in the URL only is not to be guessed. */
const HOOK_ID_BYTES = 24
/** An event has 65 535 bytes at most, with its other members. */
const EVENT_CHANGES_BYTES_MAX = 32_768
