import { createHash, randomBytes } from 'node:crypto'
import { judgePush, type SealingKey, unseal } from '@crystal-forge/control-plane'
import {
  type connect,
  type Database,
  enqueueJob,
  findHook,
  type Hook,
  inTransaction,
  RESOLVE_PRIORITY,
  receiveDelivery,
  recordEvent,
} from '@crystal-forge/postgres'
import { parsePush, type VerifiedDelivery, verifyDelivery } from '@crystal-forge/protocol'
import { type Endpoint, type HttpRequest, problem, type Reply } from '../http-api.ts'
import type { Log } from '../log.ts'

export type Parts = {
  readonly database: ReturnType<typeof connect>
  readonly sealingKey: SealingKey
  readonly now: () => Date
  readonly log: Log
}

/**
 * `POST /v1/hooks/{hook}`: a push makes a `resolve` job, and that asks the forge itself what its branch holds. Provider,
 * flake and secret come from the hook. Answers 202 for what is new (`accepted` says whether it led to anything), 200 for
 * what was seen before, and one 401 for an unknown hook, a wrong secret and a stale timestamp.
 */
export function postDelivery(parts: Parts): Endpoint {
  return async (request) => {
    const { hook: named = '' } = request.parameters
    const hook = await findHook(parts.database, named)
    const verified = verifyDelivery({
      provider: hook?.provider ?? 'github',
      secrets: hook === null ? [NOBODY_KNOWS] : secretsOf(hook, parts),
      fields: request.headers,
      body: request.body,
      now: parts.now(),
    })
    if (hook === null) return refused()
    if (!verified.ok) {
      await noteRefusal(parts, hook, verified.code)
      return refused()
    }
    const judged = judgePush(
      parsePush({ provider: hook.provider, event: verified.event }, request.body),
      hook.branch,
    )
    if (judged.kind === 'malformed') return problem(400, 'hook_body', judged.detail)
    return inTransaction(parts.database, { tenant: hook.tenant }, (transaction) =>
      take(transaction, { hook, verified, judged, request }),
    )
  }
}

type Taken = {
  readonly hook: Hook
  readonly verified: VerifiedDelivery
  readonly judged: { kind: 'wanted'; rev: string } | { kind: 'ignored'; because: string }
  readonly request: HttpRequest
}

async function take(transaction: Database, { hook, verified, judged, request }: Taken): Promise<Reply> {
  const bodySha256 = createHash('sha256').update(request.body).digest()
  const id = deliveryId(verified, bodySha256)
  const outcome = judged.kind === 'wanted' ? 'accepted' : 'ignored'
  const novelty = await receiveDelivery(transaction, { hook: hook.id, id, bodySha256, outcome })
  if (novelty === 'seen') return notAccepted(200, 'delivery already seen')
  if (judged.kind === 'ignored') return notAccepted(202, judged.because)
  if (novelty === 'same-body') return notAccepted(200, 'the same push came within the last 10 minutes')
  const { id: job } = await enqueueJob(transaction, {
    kind: 'resolve',
    subject: hook.flake,
    notes: { flake: hook.flakeName, because: 'push', hint: { rev: judged.rev, delivery: id } },
    priority: RESOLVE_PRIORITY,
  })
  await recordEvent(transaction, {
    type: 'hook.accepted',
    actor: { kind: 'forge', name: hook.provider },
    detail: {
      hook: hook.id,
      flake: hook.flake,
      delivery: id,
      assurance: verified.assurance,
      hint: judged.rev,
      job,
      evidence: { sha256: bodySha256.toString('hex'), bytes: request.body.length },
    },
  })
  return { status: 202, body: { accepted: true, flake: hook.flakeName, job } }
}

async function noteRefusal({ database, log }: Parts, hook: Hook, code: string): Promise<void> {
  log('warn', 'delivery refused', { hook: hook.id, provider: hook.provider, code })
  await inTransaction(database, { tenant: hook.tenant }, (transaction) =>
    recordEvent(transaction, {
      type: 'hook.refused',
      actor: { kind: 'forge', name: hook.provider },
      detail: { hook: hook.id, flake: hook.flake, code },
    }),
  )
}

function secretsOf(hook: Hook, { sealingKey, log }: Parts): string[] {
  const sealed = [hook.secretSealed, hook.previousSecretSealed].filter((bytes) => bytes !== null)
  return sealed.flatMap((bytes) => {
    const secret = unseal(bytes, hook.id, sealingKey)
    if (secret === null) log('error', 'a secret does not open with SEALING_KEY_FILE', { hook: hook.id })
    return secret === null ? [] : [secret.toString('utf8')]
  })
}

/** The forge's id; a long one is shortened, and a delivery without one is told apart by its bytes. */
function deliveryId({ deliveryId: given }: VerifiedDelivery, bodySha256: Buffer): string {
  if (given === null) return `body:${bodySha256.toString('hex')}`
  if (given.length <= DELIVERY_ID_MAX) return given
  return `sha256:${createHash('sha256').update(given).digest('hex')}`
}

function notAccepted(status: 200 | 202, because: string): Reply {
  return { status, body: { accepted: false, because } }
}

function refused(): Reply {
  return problem(
    401,
    'hook_signature',
    'the signature is not one of this hook: compare address and secret with those of the forge, which `cf apply` sets',
  )
}

/** An unknown hook costs the same check as a known one, and no signature passes it. */
const NOBODY_KNOWS = randomBytes(32).toString('hex')
const DELIVERY_ID_MAX = 128
