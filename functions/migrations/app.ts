import { readFileSync } from 'node:fs'
import { secretsManager } from '@crystal-forge/aws'
import { connect, type MigrationSet } from '@crystal-forge/postgres'
import * as z from 'zod'
import type { Log } from '../log.ts'
import { type ReadSecret, type SecretSource, whereOf } from '../secret-source.ts'
import type { Config } from './config.ts'
import { type Prepared, prepareDatabase } from './prepare-database.ts'

export type DeployHandler = () => Promise<Prepared>

type Parts = { readonly log: Log; readonly migrations: MigrationSet; readonly readSecret: ReadSecret }

/** Runs once for each deployment, before anything that needs the new schema. `close` ends the connections. */
export function app(
  config: Config,
  { log, migrations, readSecret }: Parts,
): { handler: DeployHandler; close(): Promise<void> } {
  const { username, password } = readMaster(config.master, readSecret)
  const database = connect({
    host: config.host,
    port: config.port,
    database: config.database,
    user: username,
    password,
    tls: { ca: readFileSync(config.caFile, 'utf8'), servername: config.host },
    max: 1,
    applicationName: 'migrations',
  })
  const secrets = secretsManager({ region: config.region })
  const { adminTokenSecretArn, tenant } = config
  const handler: DeployHandler = async () => {
    try {
      return await prepareDatabase({ database, migrations, secrets, adminTokenSecretArn, tenant, log })
    } catch (error) {
      log('error', 'the database could not be prepared', { error })
      throw error
    }
  }
  const close = async (): Promise<void> => {
    await database.end()
    secrets.close()
  }
  return { handler, close }
}

const masterSecret = z.object({ username: z.string().min(1), password: z.string().min(1) })

function readMaster(source: SecretSource, readSecret: ReadSecret): z.infer<typeof masterSecret> {
  try {
    return masterSecret.parse(JSON.parse(readSecret(source)))
  } catch {
    // The cause would quote the secret.
    throw new Error(`${whereOf(source)} is no JSON object with username and password`)
  }
}
