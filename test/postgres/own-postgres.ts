import { execFile } from 'node:child_process'
import { chmod, chown, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { connect, type Pool } from '@crystal-forge/postgres'
import { accountFor } from '../../server/src/account.ts'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../server/src/embedded-postgres.ts'

/** A server for one test file, which may stop it, kill it or change its settings. */
export type OwnPostgres = EmbeddedPostgres & {
  /** The superuser's pool. */
  readonly admin: Pool
  /** Vouches for the server under the name `localhost`. */
  readonly caFile: string
  close(): Promise<void>
}

export type OwnPostgresOptions = {
  /** Everybody has to log in with a password; the superuser's is `root-password`. Otherwise everybody is trusted. */
  readonly passwords?: boolean
  /** What was committed survives a kill, as in production. */
  readonly durable?: boolean
}

/** Starts a server that speaks TLS with a certificate of its own. */
export async function startOwnPostgres(options: OwnPostgresOptions = {}): Promise<OwnPostgres> {
  const directory = await mkdtemp(join(tmpdir(), 'cf-own-postgres-'))
  await chmod(directory, 0o755)
  const passwordFile = join(directory, 'password')
  await writeFile(passwordFile, 'root-password\n')
  const postgres = await startEmbeddedPostgres({
    dataDir: join(directory, 'data'),
    access: options.passwords === true ? { passwordFile } : 'trust',
    ephemeral: options.durable !== true,
  })
  const { host, port, user } = postgres
  const admin = connect({ host, port, user, database: 'postgres', password: 'root-password', max: 2 })
  const caFile = join(directory, 'ca.pem')
  await serveTls(admin, postgres.cluster, caFile)
  return Object.assign(Object.create(postgres) as EmbeddedPostgres, {
    admin,
    caFile,
    close: async () => {
      await admin.end()
      await postgres.stop()
      for (const path of [directory, postgres.cluster]) await rm(path, { recursive: true, force: true })
    },
  })
}

async function serveTls(admin: Pool, cluster: string, caFile: string): Promise<void> {
  const [key, certificate] = [join(cluster, 'server.key'), join(cluster, 'server.crt')]
  await promisify(execFile)('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
    ...[
      '-subj',
      '/CN=localhost',
      '-addext',
      'subjectAltName=DNS:localhost',
      '-keyout',
      key,
      '-out',
      certificate,
    ],
  ])
  await writeFile(caFile, await readFile(certificate))
  const account = accountFor(process.getuid?.() ?? 0)
  for (const file of [key, certificate]) {
    if (account.switchTo) await chown(file, account.uid, account.gid)
    await chmod(file, 0o600)
  }
  await admin.query('alter system set ssl = on')
  await admin.query('select pg_reload_conf()')
}
