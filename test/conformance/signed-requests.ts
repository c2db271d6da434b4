import {
  agentReport,
  checkFrame,
  checkIdentity,
  enrolRequest,
  type KeyRecord,
  parsePublicKey,
  parseSignedBody,
  parseStrictJson,
  type Refusal,
  type RequestPolicy,
  rotateKeyRequest,
  type SignedRequest,
  splitTarget,
  stateDigest,
  verifyRequest,
  verifyTwoKeyRequest,
} from '@crystal-forge/protocol'
import { type Answer, casesOf, Facts } from './case-file.ts'

type Owner = { readonly system: string; readonly hostname?: string }
type Keys = (keyId: string) => Promise<KeyRecord<Owner> | null>
type Outcome =
  | { readonly ok: true }
  | Refusal
  | { readonly ok: false; readonly code: 'no_route' | 'state_required' }

/** The whole check of a request by the agents' interface: target, route, signature, digest, body, identity, replay. */
export async function runSignedRequests(file: unknown): Promise<readonly Answer[]> {
  const top = new Facts(file)
  const bodies = casesOf(file).map(({ facts }) => facts.object('request').bytes('body'))
  const server = new AgentInterface(keysOf(top.object('keys')), registeredHosts(bodies))
  const profile = top.object('profile')
  const answers: Answer[] = []
  for (const { id, facts } of casesOf(file)) {
    const given = facts.object('request')
    const request: SignedRequest = {
      method: given.text('method') ?? 'POST',
      authority: given.text('authority') ?? '',
      target: given.text('target', 'path') ?? '',
      fields: given.fields('fields', 'headers'),
      body: given.bytes('body'),
    }
    const policy: RequestPolicy = {
      tag: 'crystal-forge-agent-v1',
      authority: profile.text('authority') ?? top.text('authority') ?? EXAMPLE_HOST,
      now: facts.instant('now') ?? top.instant('now') ?? new Date(),
    }
    const outcome = await server.answer(request, policy)
    answers.push({ id, accept: outcome.ok, code: outcome.ok ? 'accepted' : outcome.code })
  }
  return answers
}

/** The memory of one server: spent nonces, and the digest of each system's last state. */
class AgentInterface {
  readonly #keys: Keys
  readonly #hosts: ReadonlyMap<string, string>
  readonly #spent = new Set<string>()
  readonly #states = new Map<string, string>()

  /** @param hosts the registered host name of each system. */
  constructor(keys: Keys, hosts: ReadonlyMap<string, string>) {
    this.#keys = keys
    this.#hosts = hosts
  }

  async answer(request: SignedRequest, policy: RequestPolicy): Promise<Outcome> {
    const unfit = checkFrame(request)
    if (unfit?.code === 'bad_target') return unfit
    switch (splitTarget(request.target).path) {
      case '/v1/agent/reports':
        return this.#onlyPost(request, await this.#report(request, policy))
      case '/v1/agent/keys':
        return this.#onlyPost(request, await this.#twoKeys(request, policy, 'old'))
      case '/v1/enroll':
        return this.#onlyPost(request, await this.#twoKeys(request, policy, 'boot'))
      default:
        return { ok: false, code: 'no_route' }
    }
  }

  async #report(request: SignedRequest, policy: RequestPolicy): Promise<Outcome> {
    const caller = await verifyRequest(request, { ...policy, lookupKey: this.#keys })
    if (!caller.ok) return caller
    const parsed = parseSignedBody(request.body, agentReport)
    if (!parsed.ok) return parsed
    const report = parsed.value
    const { system } = caller.principal
    const other = checkIdentity(caller.principal, report) ?? this.#checkHost(system, report.hostname)
    if (other !== null) return other
    if (
      report.kind === 'heartbeat' &&
      this.#states.get(system) !== report.state_digest &&
      request.method === 'POST'
    ) {
      return { ok: false, code: 'state_required' }
    }
    const spent = request.method === 'POST' ? this.#spend(caller.keyId, caller.nonce) : null
    if (spent === null && report.kind === 'state') this.#states.set(system, stateDigest(report))
    return spent ?? { ok: true }
  }

  async #twoKeys(request: SignedRequest, policy: RequestPolicy, second: 'boot' | 'old'): Promise<Outcome> {
    const schema = second === 'boot' ? enrolRequest : rotateKeyRequest
    const caller = await verifyTwoKeyRequest(request, { ...policy, second, newKeyOf, lookupKey: this.#keys })
    if (!caller.ok) return caller
    const parsed = parseSignedBody(request.body, schema)
    if (!parsed.ok) return parsed
    const other = second === 'old' ? checkIdentity(caller.principal, parsed.value) : null
    return (
      other ??
      this.#spend(caller.keyId, caller.nonce) ??
      this.#spend(caller.newKey.keyId, caller.newKey.nonce) ?? { ok: true }
    )
  }

  #checkHost(system: string, hostname: string): Refusal | null {
    const owner = [...this.#hosts].find(([, host]) => host === hostname)?.[0] ?? system
    return checkIdentity(
      { system, hostname: this.#hosts.get(system) ?? hostname },
      { system: owner, hostname },
    )
  }

  #spend(keyId: string, nonce: string): Refusal | null {
    const entry = `${keyId} ${nonce}`
    if (this.#spent.has(entry))
      return { ok: false, status: 409, code: 'replayed', detail: 'The nonce was spent.' }
    this.#spent.add(entry)
    return null
  }

  /** No route has another method, but who asks is answered about the signature first. */
  #onlyPost(request: SignedRequest, outcome: Outcome): Outcome {
    return outcome.ok && request.method !== 'POST' ? { ok: false, code: 'no_route' } : outcome
  }
}

function keysOf(keys: Facts): Keys {
  const rows = new Map<string, KeyRecord<Owner>>()
  for (const keyId of keys.names()) {
    const key = keys.object(keyId)
    const publicKey = parsePublicKey(key.text('pub_b64', 'public_key') ?? '')
    if (publicKey === null) continue
    const hostname = key.text('hostname', 'host')
    const system = key.text('system') ?? ''
    const principal = hostname === undefined ? { system } : { system, hostname }
    rows.set(keyId, { status: key.text('status') === 'revoked' ? 'revoked' : 'active', publicKey, principal })
  }
  return async (keyId) => rows.get(keyId) ?? null
}

/**
 * Files name the system of a key but not its host: a system's host name is the one that the bodies give it most often, and no
 * two systems have the same.
 */
function registeredHosts(bodies: readonly Uint8Array[]): ReadonlyMap<string, string> {
  const counts = new Map<string, number>()
  for (const body of bodies) {
    const facts = new Facts(jsonOrNull(body))
    const [system, hostname] = [facts.text('system'), facts.text('hostname')]
    if (system === undefined || hostname === undefined) continue
    const pair = JSON.stringify([system, hostname])
    counts.set(pair, (counts.get(pair) ?? 0) + 1)
  }
  const hosts = new Map<string, string>()
  for (const [pair] of [...counts].toSorted(([, a], [, b]) => b - a)) {
    const [system, hostname]: string[] = JSON.parse(pair)
    if (system === undefined || hostname === undefined) continue
    if (!hosts.has(system) && ![...hosts.values()].includes(hostname)) hosts.set(system, hostname)
  }
  return hosts
}

function jsonOrNull(bytes: Uint8Array): unknown {
  try {
    return parseStrictJson(bytes)
  } catch {
    return null
  }
}

function newKeyOf(body: Uint8Array): Uint8Array | null {
  return parsePublicKey(new Facts(jsonOrNull(body)).text('public_key') ?? '')
}

/** The public host of the examples, for files that do not name one. */
const EXAMPLE_HOST = 'api.cf.example.com'
