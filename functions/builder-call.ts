import type { BuilderPrincipal } from '@crystal-forge/control-plane'
import {
  builderSeen,
  claimNonce,
  type connect,
  type Database,
  findBuilderKey,
  inTransaction,
} from '@crystal-forge/postgres'
import type * as z from 'zod'
import { type Endpoint, type HttpRequest, problem, type Reply } from './http-api.ts'
import { recogniseBuilder, replayedReply } from './signed-caller.ts'

/** What every endpoint for builders needs. */
export type BuilderParts = {
  readonly database: ReturnType<typeof connect>
  /** The public host that builders sign for. */
  readonly authority: string
  readonly now: () => Date
}

export type BuilderCall<Body> = {
  /** Holds the nonce and the effect, and sees the builder's tenant only. */
  readonly transaction: Database
  readonly builder: BuilderPrincipal
  readonly body: Body
  readonly request: HttpRequest
}

/** Recognises the builder and acts in one transaction with the nonce. What `act` returns is committed, refusals included. */
export function builderCall<Schema extends z.ZodType>(
  parts: BuilderParts,
  schema: Schema,
  act: (call: BuilderCall<z.output<Schema>>) => Promise<Reply>,
): Endpoint {
  return async (request) => {
    const caller = await recogniseBuilder(request, { ...recognition(parts), schema })
    if (!caller.ok) return caller.reply
    const { principal: builder, nonce, expiresAt, body } = caller
    return inTransaction(parts.database, { tenant: builder.tenant }, async (transaction) => {
      const spent = { tenant: builder.tenant, keyId: builder.keyId, nonce, expiresAt }
      if ((await claimNonce(transaction, spent)) === 'replayed') return replayedReply()
      await builderSeen(transaction, builder.builder)
      return act({ transaction, builder, body, request })
    })
  }
}

/** The parts of `recogniseBuilder` that do not depend on the route. */
export function recognition({ authority, now, database }: BuilderParts): {
  authority: string
  now: Date
  findKey: (keyId: string) => ReturnType<typeof findBuilderKey>
} {
  return { authority, now: now(), findKey: (keyId) => findBuilderKey(database, keyId) }
}

/** The fence of the message is not the newest one of the job: somebody else may be working on it. */
export function staleFence(job: string): Reply {
  return problem(
    409,
    'stale_fence',
    `job ${job} is not yours any more: stop working on it and claim another one`,
  )
}

export function unknownJob(job: string): Reply {
  return problem(404, 'unknown_job', `there is no job ${JSON.stringify(job.slice(0, 64))}`)
}
