import { createHash } from 'node:crypto'
import { type HttpRequest, problem, type Reply } from './http-api.ts'
import { ROLES, ROUTES, type Role } from './routes.ts'

/** Who an operator's token belongs to, as the database says. */
export type TokenRow = {
  id: string
  tenant: string
  name: string
  /** Who holds it; `token:<id>` where nobody said. */
  subject: string
  role: Role
  expiresAt: Date
  revokedAt: Date | null
}

/** Finds a token by the SHA-256 of its text, in hexadecimal; null when there is none. */
export type FindToken = (sha256: string) => Promise<TokenRow | null>

export type Operator = {
  readonly tenant: string
  readonly token: string
  readonly name: string
  /** Who it is, whatever the token or the account is called: `iss#sub` of a JWT, or what is said of the token. */
  readonly subject: string
  readonly role: Role
}
export type Recognised =
  | { readonly ok: true; readonly operator: Operator }
  | { readonly ok: false; readonly reply: Reply }

/**
 * Recognises the operator behind `Authorization: Bearer cf_...` and holds the role against the route table.
 * An unknown, a revoked and an expired token are one and the same answer.
 */
export async function recogniseOperator(
  request: HttpRequest,
  find: FindToken,
  now: Date,
): Promise<Recognised> {
  const recognised =
    request.claims === undefined ? await recogniseToken(request, find, now) : recogniseClaims(request.claims)
  if (!recognised.ok) return recognised
  const { role } = recognised.operator
  const needed = ROUTES.find((route) => route.key === request.route)?.role
  if (needed === undefined || ROLES.indexOf(role) < ROLES.indexOf(needed))
    return {
      ok: false,
      reply: problem(
        403,
        'role_too_low',
        `${request.route} needs the role ${needed ?? 'of nobody'}; this one is ${role}`,
      ),
    }
  return recognised
}

/**
 * Who the issuer of the deployment says it is. The issuer is trusted with the tenant as well: `cf_tenant` is the id of
 * a tenant and `cf_role` one of our roles. Whoever comes without both is refused, never taken for a viewer.
 */
function recogniseClaims(claims: Readonly<Record<string, string | undefined>>): Recognised {
  const { iss, sub, cf_tenant: tenant, cf_role, email, name } = claims
  const role = ROLES.find((candidate) => candidate === cf_role)
  if (
    iss === undefined ||
    sub === undefined ||
    role === undefined ||
    tenant === undefined ||
    !/^t_[A-Za-z0-9]{1,64}$/.test(tenant)
  )
    return {
      ok: false,
      reply: problem(
        403,
        'claims_missing',
        `the JWT needs iss, sub, cf_tenant (t_...) and cf_role (${ROLES.join(', ')}); add them at the issuer`,
      ),
    }
  return {
    ok: true,
    operator: { tenant, token: `oidc:${sub}`, name: email ?? name ?? sub, subject: `${iss}#${sub}`, role },
  }
}

/** The same for a route that any role may call. */
export async function recogniseToken(request: HttpRequest, find: FindToken, now: Date): Promise<Recognised> {
  const header = request.headers.find(([name]) => name === 'authorization')?.[1]
  const token = /^Bearer (cf_[A-Za-z0-9_-]{43})$/i.exec(header ?? '')?.[1]
  const row = token === undefined ? null : await find(tokenDigest(token))
  if (row === null || row.revokedAt !== null || row.expiresAt <= now)
    return { ok: false, reply: unauthorized(token !== undefined) }
  const { id, tenant, name, subject, role } = row
  return { ok: true, operator: { tenant, token: id, name, subject, role } }
}

/** What is stored of a token: lower-case hexadecimal SHA-256 of its text. */
export function tokenDigest(token: string): string {
  return createHash('sha256').update(token).digest('hex')
}

/** Which of the three a presented token is, only its owner may know. */
function unauthorized(presented: boolean): Reply {
  const detail = presented
    ? 'the token is unknown, has expired or was revoked; an admin makes another one with `cf token create`'
    : 'send Authorization: Bearer <token>; `cf token create` makes one'
  return problem(401, 'token_refused', detail, { headers: { 'www-authenticate': 'Bearer' } })
}
