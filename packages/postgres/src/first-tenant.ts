import type { Database } from './connect.ts'

/**
 * Makes the first tenant of an installation and the admin token with this digest (SHA-256, hexadecimal). Doing it again
 * changes nothing; a token that was revoked stays revoked. The owner of the schema need not be a superuser: row-level
 * security binds it like everybody.
 *
 * @param owner one connection, not a pool: tenant and token belong to one transaction.
 */
export async function ensureFirstTenant(
  owner: Database,
  first: { readonly tenant: string; readonly tokenSha256: string },
): Promise<{ readonly tenantId: string }> {
  await owner.query('begin')
  try {
    const tenantId = await ensureTenant(owner, first.tenant)
    await owner.query(ENSURE_TOKEN, [first.tokenSha256])
    await owner.query('commit')
    return { tenantId }
  } catch (error) {
    await owner.query('rollback').catch(() => {})
    throw error
  }
}

/** Two that start at once get the same tenant. The transaction is the tenant's afterwards. */
async function ensureTenant(owner: Database, name: string): Promise<string> {
  await owner.query(`select set_config('cf.tenant', new_id('t'), true)`)
  await owner.query('insert into tenant (id, name) values (cf_tenant(), $1) on conflict do nothing', [name])
  const { rows } = await owner.query<{ id: string }>(
    `select id, set_config('cf.tenant', id, true) from tenant where name = $1`,
    [name],
  )
  const id = rows[0]?.id
  if (id === undefined)
    throw new Error(`the tenant ${name} cannot be seen: this database role must own the tables`)
  return id
}

const ENSURE_TOKEN = `
with made as (
  insert into api_token (tenant_id, name, role, token_sha256, created_by, expires_at)
  values (cf_tenant(), 'first admin token', 'admin', $1, 'first start', now() + interval '365 days')
  on conflict (token_sha256) do nothing
  returning id, name, role, expires_at
)
select record_event('token.created', '{"kind": "system", "name": "first start"}',
                    jsonb_build_object('created', id, 'name', name, 'role', role, 'expires_at', expires_at)) from made`
