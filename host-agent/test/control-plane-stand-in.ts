import { once } from 'node:events'
import http from 'node:http'
import {
  type AgentReport,
  agentReport,
  type ControlFacts,
  checkIdentity,
  controlFacts,
  enrolRequest,
  type KeyRecord,
  keyId,
  PROBLEM_MEDIA_TYPE,
  parsePublicKey,
  parseSignedBody,
  problemType,
  publicKeyOfSeed,
  publicRefusal,
  type Refusal,
  rotateKeyRequest,
  type SecretSeed,
  type SignedRequest,
  stateDigest,
  verifyRequest,
  verifyTwoKeyRequest,
} from '@crystal-forge/protocol'

type Owner = { readonly hostname: string }
type Answer = {
  readonly status: number
  readonly body: unknown
  readonly headers?: Readonly<Record<string, string>>
}

/** What goes wrong with one request: `before` it has an effect, or `after`, when its answer is lost. */
export type Fault =
  | { readonly when: 'before' | 'after'; readonly how: 'hang-up' }
  | ({ readonly when: 'before' } & { readonly how: 'answer' } & Answer)

/**
 * A control plane with real verification and real state: keys, nonces, reports in the order in which they were recorded. What the
 * product must never send makes `violations` grow.
 */
export class ControlPlaneStandIn implements AsyncDisposable {
  readonly reports: AgentReport[] = []
  readonly facts: ControlFacts[] = []
  /** The bodies of `facts`, as they were signed. */
  readonly factsBodies: Uint8Array[] = []
  readonly violations: string[] = []
  /** False: a control plane of an earlier version. */
  takesFacts = true
  readonly faults: Fault[] = []
  /** Requests that reached it, refused or not. */
  requests = 0
  nextReportInS = 600
  deployment: unknown = null
  authority = ''
  now: () => Date = () => new Date()
  readonly #keys = new Map<string, KeyRecord<Owner>>()
  readonly #tokens = new Map<string, KeyRecord<Owner>>()
  readonly #nonces = new Set<string>()
  readonly #answers = new Map<string, unknown>()
  #digest: string | null = null
  #waiting: (() => void)[] = []
  #server: http.Server

  constructor() {
    this.#server = http.createServer((request, response) => {
      this.#handle(request, response).catch((error: unknown) => this.violations.push(String(error)))
    })
  }

  /** @param port 0 for any that is free. */
  async listen(port = 0): Promise<string> {
    this.#server.listen(port, '127.0.0.1')
    await once(this.#server, 'listening')
    const address = this.#server.address()
    if (address === null || typeof address === 'string') throw new Error('no port')
    if (this.authority === '') this.authority = `127.0.0.1:${address.port}`
    return `http://127.0.0.1:${address.port}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    if (!this.#server.listening) return
    await new Promise((resolve) => this.#server.close(resolve))
  }

  addKey(publicKey: Uint8Array, hostname: string): void {
    this.#keys.set(keyId(publicKey), { status: 'active', publicKey, principal: { hostname } })
  }

  addToken(seed: SecretSeed, hostname: string): void {
    const publicKey = publicKeyOfSeed(seed)
    this.#tokens.set(keyId(publicKey), { status: 'active', publicKey, principal: { hostname } })
  }

  hasKey(id: string): boolean {
    return this.#keys.has(id)
  }

  forgetStates(): void {
    this.#digest = null
  }

  /** Resolves when the condition holds; it is looked at after every request. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  async #handle(incoming: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of incoming) chunks.push(Buffer.from(chunk))
    this.requests++
    const fields: [string, string][] = []
    for (let at = 0; at < incoming.rawHeaders.length; at += 2) {
      fields.push([incoming.rawHeaders[at] ?? '', incoming.rawHeaders[at + 1] ?? ''])
    }
    const request: SignedRequest = {
      method: incoming.method ?? '',
      authority: incoming.headers.host ?? '',
      target: incoming.url ?? '',
      fields,
      body: new Uint8Array(Buffer.concat(chunks)),
    }
    const fault = this.faults.shift()
    if (fault?.when === 'before') {
      if (fault.how === 'hang-up') response.destroy()
      else reply(response, fault)
    } else {
      const answer = await this.#route(request)
      if (fault === undefined) reply(response, answer)
      else response.destroy()
    }
    for (const wake of this.#waiting.splice(0)) wake()
  }

  async #route(request: SignedRequest): Promise<Answer> {
    if (request.target.endsWith('/v1/agent/reports')) return await this.#report(request)
    if (request.target.endsWith('/v1/agent/control-facts') && this.takesFacts)
      return await this.#controlFacts(request)
    if (request.target.endsWith('/v1/enroll')) return await this.#enroll(request)
    if (request.target.endsWith('/v1/agent/keys')) return await this.#rotate(request)
    return problem({ status: 404, code: 'no_route', detail: request.target })
  }

  async #report(request: SignedRequest): Promise<Answer> {
    const lookupKey = async (id: string) => this.#keys.get(id) ?? null
    const who = await verifyRequest(request, { ...this.#policy(), lookupKey })
    if (!who.ok) return this.#refuse(who)
    if (this.#spent(who.nonce)) return problem({ status: 409, code: 'replayed', detail: 'nonce' })
    const parsed = parseSignedBody(request.body, agentReport)
    if (!parsed.ok) return this.#refuse(parsed)
    const report = parsed.value
    const foreign = checkIdentity({ system: 'sys_1', hostname: who.principal.hostname }, report)
    if (foreign !== null) return this.#refuse(foreign)
    const known = this.#answers.get(report.report_id)
    if (known !== undefined) return { status: 200, body: known }
    if (report.kind === 'heartbeat' && report.state_digest !== this.#digest) {
      return problem({ status: 409, code: 'state_required', detail: 'send a state' })
    }
    if (report.kind === 'state') this.#digest = stateDigest(report)
    this.reports.push(report)
    const answer = {
      next_report_in_s: this.nextReportInS,
      server_time: this.now().toISOString(),
      deployment: this.deployment,
    }
    this.#answers.set(report.report_id, answer)
    return { status: 202, body: answer }
  }

  async #controlFacts(request: SignedRequest): Promise<Answer> {
    const lookupKey = async (id: string) => this.#keys.get(id) ?? null
    const who = await verifyRequest(request, { ...this.#policy(), lookupKey })
    if (!who.ok) return this.#refuse(who)
    if (this.#spent(who.nonce)) return problem({ status: 409, code: 'replayed', detail: 'nonce' })
    const parsed = parseSignedBody(request.body, controlFacts)
    if (!parsed.ok) return this.#refuse(parsed)
    const known = this.facts.some(({ message_id }) => message_id === parsed.value.message_id)
    if (!known) {
      this.facts.push(parsed.value)
      this.factsBodies.push(request.body)
    }
    return { status: known ? 200 : 202, body: { server_time: this.now().toISOString() } }
  }

  async #enroll(request: SignedRequest): Promise<Answer> {
    const parsed = parseSignedBody(request.body, enrolRequest)
    const who = await verifyTwoKeyRequest(request, {
      ...this.#policy(),
      second: 'boot',
      newKeyOf: () => (parsed.ok ? parsePublicKey(parsed.value.public_key) : null),
      lookupKey: async (id) => this.#tokens.get(id) ?? null,
    })
    if (!who.ok) return this.#refuse(who)
    if (!parsed.ok) return this.#refuse(parsed)
    this.#tokens.delete(who.keyId)
    this.addKey(who.newKey.publicKey, parsed.value.hostname)
    return {
      status: 201,
      body: { system: 'sys_1', key_id: who.newKey.keyId, server_time: this.now().toISOString() },
    }
  }

  async #rotate(request: SignedRequest): Promise<Answer> {
    const parsed = parseSignedBody(request.body, rotateKeyRequest)
    const who = await verifyTwoKeyRequest(request, {
      ...this.#policy(),
      second: 'old',
      newKeyOf: () => (parsed.ok ? parsePublicKey(parsed.value.public_key) : null),
      lookupKey: async (id) => this.#keys.get(id) ?? null,
    })
    if (!who.ok) return this.#refuse(who)
    this.#keys.delete(who.keyId)
    this.addKey(who.newKey.publicKey, who.principal.hostname)
    return {
      status: 200,
      body: { key_id: who.newKey.keyId, replaced: who.keyId, server_time: this.now().toISOString() },
    }
  }

  #policy() {
    return { tag: 'crystal-forge-agent-v1' as const, authority: this.authority, now: this.now() }
  }

  #spent(nonce: string): boolean {
    if (this.#nonces.has(nonce)) this.violations.push('a nonce was used twice')
    const spent = this.#nonces.has(nonce)
    this.#nonces.add(nonce)
    return spent
  }

  #refuse(refusal: Refusal): Answer {
    return problem(publicRefusal(refusal))
  }
}

function problem(refusal: {
  readonly status: number
  readonly code: string
  readonly detail: string
  readonly serverTime?: string
}): Answer {
  const { status, code, detail, serverTime } = refusal
  return {
    status,
    headers: { 'content-type': PROBLEM_MEDIA_TYPE },
    body: {
      type: problemType(code),
      title: code,
      status,
      code,
      detail,
      ...(serverTime === undefined ? {} : { server_time: serverTime }),
    },
  }
}

function reply(response: http.ServerResponse, answer: Answer): void {
  response.writeHead(answer.status, { 'content-type': 'application/json', ...answer.headers })
  response.end(JSON.stringify(answer.body))
}
