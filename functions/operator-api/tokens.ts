import { randomBytes } from 'node:crypto'
import { createApiToken, listApiTokens, recordEvent, revokeApiToken } from '@crystal-forge/postgres'
import { line } from '@crystal-forge/protocol'
import * as z from 'zod'
import { tokenDigest } from '../operator.ts'
import { type Context, change, type Endpoints, list, parameter, unknown } from '../operator-endpoint.ts'
import { ROLES } from '../routes.ts'
import { NOTHING } from './systems.ts'

/** Tokens of operators. Each is shown once, in the answer that makes it. */
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

/** So many seconds from now. */
export function after(now: Date, seconds: number): Date {
  return new Date(now.getTime() + seconds * 1000)
}
