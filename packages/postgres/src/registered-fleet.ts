import {
  type RegisteredFleet,
  type RegisteredHook,
  type SealingKey,
  unseal,
} from '@crystal-forge/control-plane'
import type { Database } from './connect.ts'

const ENVIRONMENTS = `
select name, description, active as "isActive", risk_profile as "riskProfile", compliance_level as "complianceLevel"
from environment order by name`
const FLAKES = `
select name, repository_url as "repoUrl", source, branch, auto_poll as "autoPoll", poll_interval_s as "pollIntervalS",
       initial_commit_depth as "initialCommitDepth", active
from flake order by name`
const HOOKS = `
select f.name as flake, h.provider, h.id, h.active, h.secret_sealed as sealed
from hook h join flake f on f.id = h.flake_id order by f.name, h.provider`
const BUILDERS = 'select name, active from builder order by name'
const SYSTEMS = `
select s.hostname, e.name as environment, f.name as flake, c.name as configuration, s.policy,
       s.desired_target as "desiredTarget", s.active
from system s
left join environment e on e.id = s.environment_id
left join flake f on f.id = s.flake_id
left join configuration c on c.id = s.configuration_id
order by s.hostname`
const KEYS = `
select 'system' as owner, s.hostname as name, encode(k.public_key, 'base64') as "publicKey", k.key_id as "keyId",
       k.status = 'active' as active
from system_key k join system s on s.id = k.system_id
union all
select 'builder', b.name, encode(k.public_key, 'base64'), k.key_id, k.status = 'active'
from builder_key k join builder b on b.id = k.builder_id`

/** Everything that the transaction's tenant has registered. Hook secrets are opened in memory to be compared. */
export async function readRegisteredFleet(
  transaction: Database,
  sealingKey: SealingKey,
): Promise<RegisteredFleet> {
  const rows = async <Row extends object>(text: string): Promise<Row[]> =>
    (await transaction.query<Row>(text)).rows
  return {
    environments: await rows(ENVIRONMENTS),
    flakes: await rows(FLAKES),
    hooks: (await rows<SealedHook>(HOOKS)).map((hook) => opened(hook, sealingKey)),
    builders: await rows(BUILDERS),
    systems: await rows(SYSTEMS),
    keys: await rows(KEYS),
  }
}

type SealedHook = Omit<RegisteredHook, 'secret'> & { readonly sealed: Buffer }

function opened({ sealed, ...hook }: SealedHook, key: SealingKey): RegisteredHook {
  return { ...hook, secret: unseal(sealed, hook.id, key)?.toString('utf8') ?? null }
}
