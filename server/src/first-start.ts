import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { tokenDigest } from '@crystal-forge/functions/operator.ts'
import { type Database, ensureFirstTenant } from '@crystal-forge/postgres'
import { writeSecretOnce } from './secret-files.ts'

/**
 * Makes the tenant of a one-machine installation and its first admin token, which lies in a file that only the
 * service's user reads. Starting again changes nothing; a token that was revoked stays revoked. The owner of the schema
 * need not be a superuser: row-level security binds it like everybody.
 *
 * @param owner one connection, not a pool: tenant and token belong to one transaction.
 */
export async function ensureTenantAndToken(
  owner: Database,
  options: { readonly tenant: string; readonly adminTokenFile: string },
): Promise<{ readonly tenantId: string }> {
  await writeSecretOnce(options.adminTokenFile, `cf_${randomBytes(32).toString('base64url')}`)
  const token = (await readFile(options.adminTokenFile, 'utf8')).trim()
  if (!/^cf_[A-Za-z0-9_-]{43}$/.test(token))
    throw new Error(
      `${options.adminTokenFile} holds no token (cf_ and 43 letters); remove it to get a new one at the next start`,
    )
  return await ensureFirstTenant(owner, { tenant: options.tenant, tokenSha256: tokenDigest(token) })
}
