import type pg from 'pg'
import type { Database } from './connect.ts'
import { type Listed, type Page, readPage } from './lists.ts'
import { inTransaction } from './transaction.ts'

export type Role = 'viewer' | 'operator' | 'approver' | 'admin'
export type ApiToken = {
  id: string
  tenant: string
  name: string
  /** Who holds it; `token:<id>` where nobody said. */
  subject: string
  role: Role
  expiresAt: Date
  revokedAt: Date | null
}

const FIND = `
select id, tenant_id as tenant, name, coalesce(subject, 'token:' || id) as subject, role, expires_at as "expiresAt", revoked_at as "revokedAt"
from api_token where token_sha256 = $1`

/** The token with this digest, whatever its tenant; null when there is none. */
export async function findApiToken(pool: pg.Pool, sha256: string): Promise<ApiToken | null> {
  return await inTransaction(
    pool,
    { lookup: sha256 },
    async (transaction) => (await transaction.query<ApiToken>(FIND, [sha256])).rows[0] ?? null,
  )
}

export type TokenListRow = {
  id: string
  name: string
  subject: string | null
  role: Role
  created_by: string
  created_at: Date
  expires_at: Date
  revoked_at: Date | null
}
const COLUMNS = 'id, name, subject, role, created_by, created_at, expires_at, revoked_at'
const LIST = `
select ${COLUMNS} from api_token where ($1::text is null or id < $1) order by id desc limit $2`

export async function listApiTokens(database: Database, page: Page): Promise<Listed<TokenListRow>> {
  return await readPage<TokenListRow>(database, { text: LIST, filters: [], key: (row) => row.id }, page)
}

const CREATE = `
insert into api_token (tenant_id, name, role, token_sha256, created_by, expires_at, subject)
values (cf_tenant(), $1, $2, $3, $4, $5, $6)
returning ${COLUMNS}`

export async function createApiToken(
  transaction: Database,
  token: {
    readonly name: string
    readonly role: Role
    readonly sha256: string
    readonly createdBy: string
    readonly expiresAt: Date
    readonly subject: string
  },
): Promise<TokenListRow> {
  const values = [token.name, token.role, token.sha256, token.createdBy, token.expiresAt, token.subject]
  const [row] = (await transaction.query<TokenListRow>(CREATE, values)).rows
  if (row === undefined) throw new Error('the token was not stored')
  return row
}

const REVOKE = `
update api_token set revoked_at = coalesce(revoked_at, now()) where id = $1
returning old.revoked_at is null as fresh, ${COLUMNS.split(', ')
  .map((column) => `new.${column}`)
  .join(', ')}`

/** Takes effect with the next request. `fresh` is false when it was revoked before; null when there is none. */
export async function revokeApiToken(
  transaction: Database,
  id: string,
): Promise<(TokenListRow & { fresh: boolean }) | null> {
  return (await transaction.query<TokenListRow & { fresh: boolean }>(REVOKE, [id])).rows[0] ?? null
}
