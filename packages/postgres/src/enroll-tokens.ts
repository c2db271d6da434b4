import type { Database } from './connect.ts'
import { type Listed, type Page, readPage } from './lists.ts'

const CREATE_ENROLL = `
insert into enroll_token (tenant_id, key_id, public_key, hostname_pattern, environment_id, flake_id, created_by, expires_at)
values (cf_tenant(), $1, $2, $3, (select id from environment where name = $4), (select id from flake where name = $5 and active), $6, $7)
returning id, expires_at`

/** Stores the public half of a one-time token. The caller has checked that environment and flake exist. */
export async function createEnrollToken(
  transaction: Database,
  token: {
    readonly keyId: string
    readonly publicKey: Uint8Array
    readonly hostnamePattern: string
    readonly environment: string | null
    readonly flake: string | null
    readonly createdBy: string
    readonly expiresAt: Date
  },
): Promise<{ id: string; expires_at: Date }> {
  const { keyId, publicKey, hostnamePattern, environment, flake, createdBy, expiresAt } = token
  const values = [keyId, Buffer.from(publicKey), hostnamePattern, environment, flake, createdBy, expiresAt]
  const [row] = (await transaction.query<{ id: string; expires_at: Date }>(CREATE_ENROLL, values)).rows
  if (row === undefined) throw new Error('the enrolment token was not stored')
  return row
}

/** What became of a token, of which there is one at any time. */
export const ENROLL_TOKEN_STATES = ['open', 'used', 'expired', 'revoked'] as const
export type EnrollTokenRow = {
  id: string
  /** The host name or pattern that it is for. */
  hostname: string
  environment: string | null
  flake: string | null
  state: (typeof ENROLL_TOKEN_STATES)[number]
  created_by: string
  created_at: Date
  expires_at: Date
  used_at: Date | null
  /** Host that enrolled with it. */
  used_by: string | null
  revoked_at: Date | null
}
export type EnrollTokenFilter = {
  readonly state: EnrollTokenRow['state'] | null
  /** Part of the host name or pattern. */
  readonly q: string | null
}

const LIST = `
select * from enroll_token_list
where ($1::text is null or id < $1) and ($3::text is null or state = $3)
  and ($4::text is null or strpos(lower(hostname), lower($4)) > 0)
order by id desc limit $2`

/** The newest first. What a token is made of is not among it. */
export async function listEnrollTokens(
  database: Database,
  filter: EnrollTokenFilter,
  page: Page,
): Promise<Listed<EnrollTokenRow>> {
  const list = { text: LIST, filters: [filter.state, filter.q], key: (row: EnrollTokenRow) => row.id }
  return await readPage<EnrollTokenRow>(database, list, page)
}

/** `fresh` is false when it was revoked before. */
export type EnrollTokenRevoked =
  | { readonly kind: 'revoked'; readonly fresh: boolean; readonly token: EnrollTokenRow }
  | { readonly kind: 'used'; readonly token: EnrollTokenRow }
  | { readonly kind: 'unknown' }

/** Waits for a host that is enrolling with it at the same time; then one of the two has happened. */
const LOCK =
  'select used_at is not null as used, revoked_at is not null as revoked from enroll_token where id = $1 for update'
const REVOKE =
  'update enroll_token set revoked_at = now() where id = $1 and used_at is null and revoked_at is null'
const SHOW = 'select * from enroll_token_list where id = $1'

/** Takes effect with the next request that is signed with it. An expired one can be revoked as well, which changes nothing. */
export async function revokeEnrollToken(transaction: Database, id: string): Promise<EnrollTokenRevoked> {
  const [locked] = (await transaction.query<{ used: boolean; revoked: boolean }>(LOCK, [id])).rows
  if (locked === undefined) return { kind: 'unknown' }
  if (!locked.used) await transaction.query(REVOKE, [id])
  const [token] = (await transaction.query<EnrollTokenRow>(SHOW, [id])).rows
  if (token === undefined) throw new Error(`the enrolment token ${id} was not found again`)
  return locked.used ? { kind: 'used', token } : { kind: 'revoked', fresh: !locked.revoked, token }
}
