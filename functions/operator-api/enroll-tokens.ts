import {
  createEnrollToken,
  type Database,
  ENROLL_TOKEN_STATES,
  listEnrollTokens,
  listEnvironments,
  recordEvent,
  revokeEnrollToken,
  showFlake,
} from '@crystal-forge/postgres'
import { encodeBase64Url, generateKeyPair, keyId, line, SecretSeed } from '@crystal-forge/protocol'
import * as z from 'zod'
import { problem, type Reply } from '../http-api.ts'
import {
  type Context,
  change,
  type Endpoints,
  list,
  type OperatorEndpoint,
  parameter,
  unknown,
} from '../operator-endpoint.ts'
import { filter } from '../operator-query.ts'
import { NOTHING } from './systems.ts'
import { after } from './tokens.ts'

/** One-time tokens with which hosts enrol. Each is shown once, in the answer that makes it. */
export function enrollTokenEndpoints(context: Context): Endpoints {
  return {
    'GET /v1/enroll-tokens': list(context, FILTERS, listEnrollTokens),
    'POST /v1/enroll-tokens': makeToken(context),
    'POST /v1/enroll-tokens/{token}/revoke': revokeToken(context),
  }
}

const FILTERS = { state: filter(z.enum(ENROLL_TOKEN_STATES)), q: filter(line(100)) }

const newEnrollToken = z.strictObject({
  /** A host name, or a pattern with `*`. */
  hostname: z.string().regex(/^[A-Za-z0-9.*-]{1,253}$/, 'expected a host name, or a pattern such as web-*'),
  environment: line(64).optional(),
  flake: line(64).optional(),
  expires_in_s: z.int().min(60).max(86_400).default(3600),
})

/** The token is an Ed25519 seed; only its public half is stored, and the host proves with it that it was given the token. */
function makeToken(context: Context): OperatorEndpoint {
  return change(context, newEnrollToken, async (transaction, { body, actor, operator }) => {
    const refusal = await refuseNames(transaction, body)
    if (refusal !== null) return refusal
    const { seed, publicKey } = generateKeyPair()
    const now = context.now()
    const row = await createEnrollToken(transaction, {
      keyId: keyId(publicKey),
      publicKey,
      hostnamePattern: body.hostname,
      environment: body.environment ?? null,
      flake: body.flake ?? null,
      createdBy: operator.name,
      expiresAt: after(now, body.expires_in_s),
    })
    const detail = {
      created: row.id,
      enrols: body.hostname,
      expires_at: row.expires_at,
      key: keyId(publicKey),
    }
    await recordEvent(transaction, { type: 'token.created', actor, detail })
    const token = encodeBase64Url(SecretSeed.bytes(seed))
    return { status: 201, body: { id: row.id, hostname: body.hostname, expires_at: row.expires_at, token } }
  })
}

async function refuseNames(
  transaction: Database,
  body: z.output<typeof newEnrollToken>,
): Promise<Reply | null> {
  if (body.flake !== undefined) {
    const flake = await showFlake(transaction, body.flake)
    if (flake?.name !== body.flake || !flake.active)
      return problem(
        422,
        'unknown_flake',
        `flake is "${body.flake}", which is not registered: declare it first`,
      )
  }
  if (body.environment === undefined) return null
  const { items } = await listEnvironments(transaction, { limit: 1000, after: null })
  if (items.some(({ name }) => name === body.environment)) return null
  const known = items.map(({ name }) => name).join(', ')
  return problem(
    422,
    'unknown_environment',
    `environment is "${body.environment}", which is not registered: use one of ${known || '(none yet)'}`,
  )
}

function revokeToken(context: Context): OperatorEndpoint {
  return change(context, NOTHING, async (transaction, { request, actor }) => {
    const id = parameter(request, 'token')
    const outcome = await revokeEnrollToken(transaction, id)
    switch (outcome.kind) {
      case 'unknown':
        return unknown('enroll-token', id)
      case 'used':
        return problem(
          409,
          'token_used',
          `token ${JSON.stringify(id)} has enrolled ${outcome.token.used_by}: revoke the key of that host instead`,
        )
      case 'revoked': {
        const detail = { revoked: id, enrols: outcome.token.hostname }
        if (outcome.fresh) await recordEvent(transaction, { type: 'token.revoked', actor, detail })
        return { status: 200, body: outcome.token }
      }
    }
  })
}
