import { randomBytes } from 'node:crypto'
import type { Secrets } from '@crystal-forge/aws'
import { type connect, ensureFirstTenant, type MigrationSet, migrate } from '@crystal-forge/postgres'
import type { Log } from '../log.ts'
import { tokenDigest } from '../operator.ts'

export type Prepared = { readonly applied: number; readonly views: number }

export type Preparation = {
  /** Connections of the owner of the schema. */
  readonly database: ReturnType<typeof connect>
  readonly migrations: MigrationSet
  readonly secrets: Pick<Secrets, 'read' | 'fillOnce'>
  readonly adminTokenSecretArn: string
  readonly tenant: string
  readonly log: Log
}

/**
 * Brings the schema to what this version needs, then makes the first tenant and its admin token, whose text goes into
 * its secret and nowhere else. Every step can be repeated; a failure leaves whole steps behind and fails the deployment.
 */
export async function prepareDatabase(parts: Preparation): Promise<Prepared> {
  const session = await parts.database.connect()
  let failed = true
  try {
    const { applied, views, notices } = await migrate(session, parts.migrations)
    for (const notice of notices) parts.log('warn', notice)
    parts.log('info', 'the schema is up to date', { applied, views })
    await parts.secrets.fillOnce(parts.adminTokenSecretArn, newToken)
    const token = (await parts.secrets.read(parts.adminTokenSecretArn)).trim()
    if (!/^cf_[A-Za-z0-9_-]{43}$/.test(token))
      throw new Error(`the secret ${parts.adminTokenSecretArn} holds no token (cf_ and 43 letters)`)
    await ensureFirstTenant(session, { tenant: parts.tenant, tokenSha256: tokenDigest(token) })
    failed = false
    return { applied: applied.length, views: views.length }
  } finally {
    // The next try gets a session without a past.
    session.release(failed)
  }
}

function newToken(): string {
  return `cf_${randomBytes(32).toString('base64url')}`
}
