import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { tokenDigest } from '@crystal-forge/functions/operator.ts'
import type { Database } from '@crystal-forge/postgres'
import { writeSecretOnce } from './secret-files.ts'

/**
 * Makes the tenant of a one-machine installation and its first admin token, which lies in a file that only the
 * service's user reads. Starting again changes nothing; a token that was revoked stays revoked.
 */
export async function ensureTenantAndToken(
  owner: Database,
  options: { readonly tenant: string; readonly adminTokenFile: string },
): Promise<{ readonly tenantId: string }> {
  const { rows } = await owner.query<{ id: string }>(
    `insert into tenant (name) values ($1) on conflict (name) do update set name = excluded.name returning id`,
    [options.tenant],
  )
  const tenantId = rows[0]?.id
  if (tenantId === undefined) throw new Error(`tenant ${options.tenant} could not be made`)
  await writeSecretOnce(options.adminTokenFile, `cf_${randomBytes(32).toString('base64url')}`)
  const token = (await readFile(options.adminTokenFile, 'utf8')).trim()
  await owner.query(
    `insert into api_token (tenant_id, name, role, token_sha256, created_by, expires_at)
     values ($1, 'first admin token', 'admin', $2, 'first start', now() + interval '365 days')
     on conflict (token_sha256) do nothing`,
    [tenantId, tokenDigest(token)],
  )
  return { tenantId }
}
