import {
  checkOrder,
  type DeploymentOrder,
  type HostContext,
  keyId,
  parseEnvelope,
  parsePublicKey,
  parseStrictJson,
  readOrder,
  type TrustedKey,
} from '@crystal-forge/protocol'
import { type Answer, casesOf, Facts } from './case-file.ts'

/** Whether the host of the file's `context` would carry out the order. Its state does not advance between cases. */
export async function runDeploymentEnvelopes(file: unknown): Promise<readonly Answer[]> {
  const top = new Facts(file)
  const shared = trustedOf(top.object('keys'))
  const cases = casesOf(file)
  const first = cases.map(({ facts }) => orderOf(facts)).find((order) => order !== null) ?? null
  return cases.map(({ id, facts }) => {
    const trusted = [...shared, ...trustedOf(facts.object('keys'))]
    const host = hostOf([facts.object('context'), top.object('context')], trusted, first)
    const now = facts.instant('now') ?? host.now
    const answer = checkOrder(envelopeOf(facts), { ...host, now })
    return { id, accept: answer.ok, code: answer.ok ? 'accepted' : answer.code }
  })
}

/** An envelope is given as JSON, or as a text from which strict JSON reads it. */
function envelopeOf(facts: Facts): unknown {
  const text = facts.text('envelope')
  if (text === undefined) return facts.value('envelope')
  try {
    return parseStrictJson(new TextEncoder().encode(text))
  } catch {
    return null
  }
}

function orderOf(facts: Facts): DeploymentOrder | null {
  const envelope = parseEnvelope(envelopeOf(facts))
  return envelope === null ? null : readOrder(envelope)
}

/** What the context does not say about the host is what the first order of the file says about it. */
function hostOf(
  contexts: readonly Facts[],
  trusted: readonly TrustedKey<'director' | 'operator'>[],
  first: DeploymentOrder | null,
): HostContext {
  const text = (...names: string[]) =>
    contexts.map((facts) => facts.text(...names)).find((one) => one !== undefined)
  const number = (...names: string[]) =>
    contexts.map((facts) => facts.number(...names)).find((one) => one !== undefined)
  const caches = contexts
    .map((facts) => facts.texts('agent_caches', 'caches'))
    .find((list) => list.length > 0)
  const persons = /([0-9]+)\s+(?:distinct\s+)?operators?/.exec(text('policy') ?? '')?.[1]
  return {
    trusted,
    operatorsMin: number('operators_min') ?? Number(persons ?? 0),
    tenant: text('agent_tenant', 'tenant') ?? first?.tenant ?? '',
    system: text('agent_system', 'system') ?? first?.target.system ?? '',
    hostname: text('agent_hostname', 'hostname') ?? first?.target.hostname ?? '',
    agentKeyId: text('agent_key_id', 'agentKeyId', 'agent_keyid') ?? first?.target.agentKeyId ?? '',
    lastSequence: number('agent_last_sequence', 'last_sequence') ?? 0,
    caches: caches ?? first?.caches ?? [],
    now: contexts.map((facts) => facts.instant('now')).find((one) => one !== undefined) ?? new Date(),
  }
}

/**
 * A key's name says its role and its person: `director`, `operator_alice`, and `operator_alice_2` for a second key of hers.
 * Keys of other roles are not pinned by the host.
 */
function trustedOf(keys: Facts): readonly TrustedKey<'director' | 'operator'>[] {
  return keys.names().flatMap((name): TrustedKey<'director' | 'operator'>[] => {
    const key = keys.object(name)
    const publicKey = parsePublicKey(key.text('pub_b64', 'public_key') ?? '')
    const role = ROLES.find((one) => name === one || name.startsWith(`${one}_`) || key.text('role') === one)
    if (publicKey === null || role === undefined) return []
    const id = key.text('keyid') ?? (name.startsWith('ed25519:') ? name : keyId(publicKey))
    const person = key.text('person') ?? (name.startsWith(`${role}_`) ? name.split('_')[1] : undefined)
    return [{ keyId: id, publicKey, role, person: person ?? name }]
  })
}

const ROLES = ['director', 'operator'] as const
