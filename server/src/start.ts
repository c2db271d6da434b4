import { mkdir, readFile, realpath, writeFile } from 'node:fs/promises'
import type { Server } from 'node:http'
import { join } from 'node:path'
import type { Log } from '@crystal-forge/functions/log.ts'
import { ROUTES } from '@crystal-forge/functions/routes.ts'
import { connect, type Database, migrate, readMigrations } from '@crystal-forge/postgres'
import { assembleFunctions, type Functions } from './assemble-functions.ts'
import { type Aws, startAws } from './aws.ts'
import type { ServerConfig } from './config.ts'
import { type OpenDatabase, openServerDatabase } from './database.ts'
import { ensureTenantAndToken } from './first-start.ts'
import { createGateway } from './gateway.ts'
import { listen } from './listen.ts'
import { holdMachineLock } from './machine-lock.ts'
import { ensureSecretFiles, type SecretFiles } from './secret-files.ts'
import { startTimer, type Timer } from './timers.ts'

/** What a person and the programs beside need to know of a running server; also in `server.json` of the data directory. */
export type Started = {
  readonly url: string
  readonly pid: number
  readonly tenantId: string
  readonly adminTokenFile: string
  /** For `builder.job_public_key`. */
  readonly jobPublicKey: string
  /** For `cf verify-export --key`. */
  readonly exportPublicKey: string
  /** For `trusted-public-keys` of Nix. */
  readonly cachePublicKey: string
  /** For `substituters` of Nix. */
  readonly cacheUrl: string
  readonly awsEndpoint: string
  readonly databaseUrl: string
}

export type RunningServer = { readonly started: Started; stop(): Promise<void> }

/**
 * Brings the control plane up in one process: database and object store side by side, then the schema, the secrets, the
 * functions, the gateway, the timers. What fails half-way is taken down again before the error is passed on.
 */
export async function startServer(
  config: ServerConfig,
  log: Log,
  migrations: string,
): Promise<RunningServer> {
  await mkdir(config.dataDir, { recursive: true, mode: 0o755 })
  const undo: (() => Promise<void>)[] = []
  const stop = async (): Promise<void> => {
    for (let step = undo.pop(); step !== undefined; step = undo.pop())
      await step().catch((error: unknown) => log('error', 'a part did not stop', { error }))
  }
  try {
    undo.push(await lockDirectory(config.dataDir))
    const [database, aws, secrets] = await startParts(config, log, undo)
    const tenantId = await prepareDatabase(config, database, { secrets, migrations, log })
    const started = await serve({ config, log, undo, database, aws, secrets, tenantId })
    return { started, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** Two servers on one directory would give each other's builders the same objects and queues. */
async function lockDirectory(dataDir: string): Promise<() => Promise<void>> {
  const release = await holdMachineLock(`server:${await realpath(dataDir)}`)
  if (release !== undefined) return release
  const other = await readFile(join(dataDir, 'server.json'), 'utf8').then(
    (text) => /"url": "([^"]*)"/.exec(text)?.[1],
    () => undefined,
  )
  const where = other === undefined ? '' : ` (${other})`
  throw new Error(`another server${where} runs on ${dataDir}: stop it, or choose another --data-dir`)
}

async function startParts(
  config: ServerConfig,
  log: Log,
  undo: (() => Promise<void>)[],
): Promise<[OpenDatabase, Aws, SecretFiles]> {
  const outcomes = await Promise.allSettled([
    openServerDatabase(config, log).then((database) => {
      undo.push(() => database.stop())
      return database
    }),
    startAws(config, log).then((aws) => {
      undo.push(() => aws.stop())
      return aws
    }),
    ensureSecretFiles(join(config.dataDir, 'secrets'), `${config.tenant}-1`),
  ])
  const failed = outcomes.find((outcome) => outcome.status === 'rejected')
  if (failed !== undefined) throw failed.reason
  const [database, aws, secrets] = outcomes
  if (database.status !== 'fulfilled' || aws.status !== 'fulfilled' || secrets.status !== 'fulfilled')
    throw new Error('a part neither started nor failed')
  return [database.value, aws.value, secrets.value]
}

async function prepareDatabase(
  config: ServerConfig,
  database: OpenDatabase,
  { secrets, migrations, log }: { secrets: SecretFiles; migrations: string; log: Log },
): Promise<string> {
  const pool = connect({ ...database.owner, max: 1, applicationName: 'crystal-forge-migrate' })
  try {
    const session = await pool.connect()
    try {
      await requireVersion(session)
      const done = await migrate(session, await readMigrations(migrations))
      if (done.applied.length > 0) log('info', 'schema migrated', { applied: done.applied })
      for (const notice of done.notices) log('warn', notice)
      await session.query('select turn_nonce_partitions()')
      await database.admitFunctions(session)
      const { tenantId } = await ensureTenantAndToken(session, {
        tenant: config.tenant,
        adminTokenFile: secrets.adminTokenFile,
      })
      await database.admitDashboards(session, tenantId)
      return tenantId
    } finally {
      session.release()
    }
  } finally {
    await pool.end()
  }
}

async function requireVersion(session: Database): Promise<void> {
  const { rows } = await session.query<{ version: string }>(
    `select current_setting('server_version') as version`,
  )
  const version = rows[0]?.version ?? ''
  if (Number.parseInt(version, 10) < POSTGRES_LEAST)
    throw new Error(`the database is Postgres ${version}; at least ${POSTGRES_LEAST} is needed`)
}

type Parts = {
  readonly config: ServerConfig
  readonly log: Log
  readonly undo: (() => Promise<void>)[]
  readonly database: OpenDatabase
  readonly aws: Aws
  readonly secrets: SecretFiles
  readonly tenantId: string
}

async function serve(parts: Parts): Promise<Started> {
  const { config, log, undo, aws, secrets, database, tenantId } = parts
  const portFile = join(config.dataDir, 'port')
  const timers: { relay?: Timer; sweep?: Timer } = {}
  let functions: Functions | undefined
  const gateway = createGateway({
    routes: ROUTES,
    handler: (name) => functions?.http[name],
    log,
    afterAnswer: (name) => {
      if (WRITES_OUTBOX.has(name)) timers.relay?.hint()
    },
  })
  undo.push(async () => {
    await functions?.close()
  })
  undo.push(async () => {
    await Promise.all([timers.relay?.stop(), timers.sweep?.stop()])
  })
  const port = await listen(gateway, { host: config.host, port: config.port, portFile })
  undo.push(() => drain(gateway))
  await writeFile(portFile, `${port}\n`)
  const host = config.host.includes(':') ? `[${config.host}]` : config.host
  const url = `http://${host}:${port}`
  functions = assembleFunctions({
    database: database.functions,
    aws,
    secrets,
    authority: config.authority ?? `${host}:${port}`,
    nextReportInS: config.nextReportInS,
    leaseS: config.leaseS,
    log,
  })
  timers.relay = startTimer({ everyMs: RELAY_EVERY_MS, work: functions.relayOutbox, log })
  timers.sweep = startTimer({ everyMs: config.sweepEveryS * 1000, work: functions.sweep, log })
  const started: Started = {
    url,
    pid: process.pid,
    tenantId,
    adminTokenFile: secrets.adminTokenFile,
    jobPublicKey: secrets.jobPublicKey,
    exportPublicKey: secrets.exportPublicKey,
    cachePublicKey: secrets.cachePublicKey,
    cacheUrl: `${aws.endpoint}/${aws.bucket}/${tenantId}`,
    awsEndpoint: aws.endpoint,
    databaseUrl: database.url,
  }
  await writeFile(join(config.dataDir, 'server.json'), `${JSON.stringify(started, null, 2)}\n`, {
    mode: 0o644,
  })
  return started
}

/** Takes no more requests, and lets the ones under way be answered. */
async function drain(gateway: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => gateway.close(() => resolve()))
  gateway.closeIdleConnections()
  const impatience = setTimeout(() => gateway.closeAllConnections(), DRAIN_MS)
  await closed
  clearTimeout(impatience)
}

/** After these a message may wait in the outbox. */
const WRITES_OUTBOX: ReadonlySet<string> = new Set([
  'webhooks',
  'builder-jobs',
  'builder-cache',
  'operator-api',
])
/** Only for what no request wrote: jobs whose time has come. */
const RELAY_EVERY_MS = 1000
/** How long an answer that is under way may take when the server stops. */
const DRAIN_MS = 5000
/** The first with uuidv7() and old/new in returning. */
const POSTGRES_LEAST = 18
