import { randomBytes } from 'node:crypto'
import {
  createApiToken,
  createEnrollToken,
  type Database,
  listApiTokens,
  listEnvironments,
  recordEvent,
  revokeApiToken,
  showFlake,
} from '@crystal-forge/postgres'
import { encodeBase64Url, generateKeyPair, keyId, line, SecretSeed } from '@crystal-forge/protocol'
import * as z from 'zod'
import { problem, type Reply } from '../http-api.ts'
import { tokenDigest } from '../operator.ts'
import {
  type Context,
  change,
  type Endpoints,
  list,
  type OperatorEndpoint,
  parameter,
  unknown,
} from '../operator-endpoint.ts'
import { ROLES } from '../routes.ts'
import { NOTHING } from './systems.ts'

/** Tokens of operators, and one-time tokens with which hosts enrol. Each is shown once, in the answer that makes it. */
export function tokenEndpoints(context: Context): Endpoints {
  return {
    'GET /v1/tokens': list(context, {}, (database, _, page) => listApiTokens(database, page)),
    'POST /v1/tokens': change(context, newToken, async (transaction, { body, actor, operator }) => {
      const token = `cf_${randomBytes(32).toString('base64url')}`
      const row = await createApiToken(transaction, {
        name: body.name,
        role: body.role,
        sha256: tokenDigest(token),
        createdBy: operator.name,
        expiresAt: after(context.now(), body.expires_in_s),
        // Of whom nothing is said it is whose it was made by: nobody becomes a second person with a second token.
        subject: body.subject ?? operator.subject,
      })
      const { id, name, subject, role, expires_at } = row
      const detail = { created: id, name, subject, role, expires_at }
      await recordEvent(transaction, { type: 'token.created', actor, detail })
      return { status: 201, body: { ...row, token } }
    }),
    'POST /v1/tokens/{token}/revoke': change(context, NOTHING, async (transaction, { request, actor }) => {
      const id = parameter(request, 'token')
      const revoked = await revokeApiToken(transaction, id)
      if (revoked === null) return unknown('token', id)
      const { fresh, ...row } = revoked
      const detail = { revoked: row.id, name: row.name }
      if (fresh) await recordEvent(transaction, { type: 'token.revoked', actor, detail })
      return { status: 200, body: row }
    }),
    'POST /v1/enroll-tokens': enrollToken(context),
  }
}

const newToken = z.strictObject({
  name: line(100).min(1),
  /** Who holds it: an address, or `iss#sub` as the JWTs of that person have it. */
  subject: line(600)
    .min(1)
    .refine((text) => !text.startsWith('token:'), 'expected a person; token: is for tokens of nobody')
    .optional(),
  role: z.enum(ROLES),
  expires_in_s: z
    .int()
    .min(60)
    .max(366 * 86_400)
    .default(90 * 86_400),
})

const newEnrollToken = z.strictObject({
  /** A host name, or a pattern with `*`. */
  hostname: z.string().regex(/^[A-Za-z0-9.*-]{1,253}$/, 'expected a host name, or a pattern such as web-*'),
  environment: line(64).optional(),
  flake: line(64).optional(),
  expires_in_s: z.int().min(60).max(86_400).default(3600),
})

/** The token is an Ed25519 seed; only its public half is stored, and the host proves with it that it was given the token. */
function enrollToken(context: Context): OperatorEndpoint {
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

function after(now: Date, seconds: number): Date {
  return new Date(now.getTime() + seconds * 1000)
}
