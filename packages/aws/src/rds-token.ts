import { Signer } from '@aws-sdk/rds-signer'
import type { AwsSettings } from './settings.ts'

export type RdsLogin = Pick<AwsSettings, 'region' | 'credentials'> & {
  readonly host: string
  readonly port: number
  /** A database role that was granted rds_iam. */
  readonly user: string
}

/**
 * A password function for `connect`: a login token for RDS, good for 15 minutes and checked only when a connection
 * opens. Computed locally from the credentials; needs no network. RDS accepts it over TLS only.
 */
export function rdsPassword(login: RdsLogin): () => Promise<string> {
  const { host, port, user, region, credentials } = login
  const signer = new Signer({
    hostname: host,
    port,
    username: user,
    region,
    ...(credentials === undefined ? {} : { credentials }),
  })
  return () => signer.getAuthToken()
}
