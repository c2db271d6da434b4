import { createHash } from 'node:crypto'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { globSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { COUNTED as RELAYED } from '@crystal-forge/functions/relay-outbox/relay.ts'
import { COUNTED as SWEPT } from '@crystal-forge/functions/sweep/sweep.ts'
import { WATCHED } from '@crystal-forge/functions/sweep/watch.ts'
import { connect, type Pool, readDatabaseUrl } from '@crystal-forge/postgres'
import {
  agentReport,
  encodeNixBase32,
  generateKeyPair,
  renderPublicKey,
  type SecretSeed,
  signRequest,
  stateDigest,
} from '@crystal-forge/protocol'
import * as z from 'zod'
import { readConfig } from '../server/src/config.ts'
import { type Started, startServer } from '../server/src/start.ts'
import { nonce, stateBody } from '../test/postgres/agent-fleet.ts'
import type { Measured } from './measured.ts'
import { type ScriptedCommit, scriptedBuilder } from './scripted-builder.ts'

/** What is assumed of a fleet, because no measurement here can say it. Everything else is counted. */
export const ASSUMED = {
  reportEveryS: 600,
  commitsPerMonth: 300,
  /** Share of the hosts that a commit changes; each of them reports its new state once. */
  changedShare: 0.1,
  /** Builders wait on each lane with polls of 20 s; as many builders as this for every thousand hosts, at least one. */
  buildersPerThousandHosts: 1,
  lanesPerBuilder: 5,
  /** Most commits rebuild little, an update of nixpkgs a lot. */
  newNarGbPerMonth: 14,
  newNarsPerCommit: 50,
  /** Nothing deletes NARs. The cheaper tiers begin after a month and after three without a read. */
  narKeptMonths: 12,
  historyKeptMonths: 12,
  /** `backupDays`: the log of the database is kept as long, as it was written. */
  backupDays: 35,
  /** A function with 512 MiB has a third of a processor; a measured millisecond here takes this much longer there. */
  slowerInLambda: 3,
  lambdaGb: 0.5,
} as const

/**
 * P13: what a host costs in a month. A sample fleet runs through the real handlers with a scripted builder; requests,
 * milliseconds, queue operations and bytes of the database are counted, multiplied up, and priced by a dated table. What a
 * deployment costs while nothing happens is counted in the templates under review.
 */
export async function measureCost(): Promise<Measured> {
  const [prices, fixed, sample] = await Promise.all([readPrices(), countResources(), runSample()])
  const rows = FLEETS.map((fleet) => priced(fleet, { prices, fixed, sample }))
  const at = (hosts: number): string => {
    const row = rows.find((one) => one.hosts === hosts)
    return `$${row?.['per host'].toFixed(4)}`
  }
  return {
    settings: { ...ASSUMED, prices: prices.date, region: prices.region, sample, fixed },
    rows,
    verdict: `P13: at 1 000 hosts ${at(1000)} (reach <= $0.08), at 10 000 hosts ${at(10_000)} (reach <= $0.03)`,
  }
}

/** The instance that carries the load: by connections and by P1, not by a guess of its processor. */
const FLEETS = [
  { hosts: 100, instance: 'db.t4g.micro' },
  { hosts: 1000, instance: 'db.t4g.micro' },
  { hosts: 10_000, instance: 'db.t4g.medium' },
] as const
type Fleet = (typeof FLEETS)[number]

const priceTable = z.object({
  date: z.string(),
  region: z.string(),
  perUnit: z.record(
    z.enum([
      'httpApiRequest',
      'lambdaRequest',
      'lambdaArmGbSecond',
      'sqsRequest',
      's3Put',
      's3Get',
      's3TierTransition',
      'logGb',
    ]),
    z.number(),
  ),
  /** What an account has for nothing in every month, not only in its first year, if nothing else in it takes it. */
  freeEachMonth: z.object({
    lambdaRequests: z.number(),
    lambdaGbSeconds: z.number(),
    sqsRequests: z.number(),
    logGb: z.number(),
    alarms: z.number(),
    customMetrics: z.number(),
    dashboards: z.number(),
  }),
  perMonth: z.object({
    s3Gb: z.number(),
    s3InfrequentGb: z.number(),
    s3ArchiveInstantGb: z.number(),
    s3TieredObject: z.number(),
    rdsGp3Gb: z.number(),
    rdsBackupGb: z.number(),
    kmsKey: z.number(),
    secret: z.number(),
    alarm: z.number(),
    customMetric: z.number(),
    dashboard: z.number(),
    interfaceEndpointPerZone: z.number(),
    instances: z.record(z.string(), z.number()),
  }),
})
type Prices = z.infer<typeof priceTable>

async function readPrices(): Promise<Prices> {
  return priceTable.parse(
    JSON.parse(await readFile(join(import.meta.dirname, 'prices-2026-11.json'), 'utf8')),
  )
}

type Fixed = Readonly<
  Record<
    'alarms' | 'metrics' | 'dashboards' | 'keys' | 'secrets' | 'endpoints' | 'zones' | 'logBytesPerRequest',
    number
  >
>

/** Fields of the access log, as long as they are for a report. A function writes nothing about a request that went well. */
const LOGGED: Readonly<Record<string, string>> = {
  requestId: 'XbTwCgQoIAMEVtw=',
  requestTime: '28/Nov/2026:16:51:18 +0000',
  routeKey: 'POST /v1/agent/reports',
  status: '202',
  'identity.sourceIp': '203.0.113.217',
  responseLength: '160',
  responseLatency: '42',
  integrationLatency: '39',
  'error.message': '-',
}
/** CloudWatch counts this for each line, besides its text. */
const LOG_EVENT_BYTES = 26
const accessLog = z.object({ Format: z.string() })

const template = z.object({
  Resources: z.record(z.string(), z.object({ Type: z.string(), Properties: z.looseObject({}).optional() })),
})

/** What is paid for existing, and what a request writes into the access log, from `test/infra/golden`. */
async function countResources(): Promise<Fixed> {
  const count = new Map<string, number>()
  let accessLogLine = ''
  let ownerSecrets = 0
  for (const file of globSync('test/infra/golden/*.json', { cwd: join(import.meta.dirname, '..') })) {
    const text = await readFile(join(import.meta.dirname, '..', file), 'utf8')
    for (const { Type, Properties } of Object.values(template.parse(JSON.parse(text)).Resources)) {
      const type = Properties?.['VpcEndpointType'] === 'Gateway' ? 'free' : Type
      count.set(type, (count.get(type) ?? 0) + 1)
      // RDS keeps the password of the owner in a secret of its own.
      if (Properties?.['ManageMasterUserPassword'] === true) ownerSecrets++
      const log = accessLog.safeParse(Properties?.['AccessLogSettings'])
      if (log.success)
        accessLogLine = log.data.Format.replaceAll(/\$context\.([\w.]+)/g, (_, name) => LOGGED[name] ?? '')
    }
  }
  const of = (type: string): number => count.get(`AWS::${type}`) ?? 0
  return {
    alarms: of('CloudWatch::Alarm'),
    // Only a deployment with a revocation list measures when it ends.
    metrics: new Set([...RELAYED, ...SWEPT, ...WATCHED]).size - 1,
    dashboards: of('CloudWatch::Dashboard'),
    keys: of('KMS::Key'),
    secrets: of('SecretsManager::Secret') + ownerSecrets,
    endpoints: of('EC2::VPCEndpoint'),
    zones: of('EC2::Subnet'),
    logBytesPerRequest: accessLogLine.length + LOG_EVENT_BYTES,
  }
}

/** What one of each costs in requests, time and bytes. */
type Sample = {
  readonly state: PerUnit
  /** Its bytes are those of a day: all heartbeats of a host are one row. */
  readonly heartbeat: PerUnit
  /** A push that changes one host in ten: webhook, resolve, evaluation of all hosts. */
  readonly commit: PerUnit & { readonly perHostMs: number }
}
type PerUnit = {
  readonly requests: number
  readonly ms: number
  readonly sqs: number
  readonly s3: number
  readonly dbBytes: number
  /** What it adds to the log of the database, which a restore to a point in time needs. */
  readonly walBytes: number
}

async function runSample(): Promise<Sample> {
  const directory = await mkdtemp(join(tmpdir(), 'cf-cost-'))
  const read = readConfig({ HOME: directory }, undefined, { dataDir: directory })
  if (!read.ok) throw new Error(read.errors.join('; '))
  const server = await startServer(read.config, () => {}, join(import.meta.dirname, '../migrations'))
  const counter = countRequests(async () => {
    const password = await readFile(join(directory, 'secrets', 'database-superuser-password'), 'utf8')
    return connect({ ...readDatabaseUrl(server.started.databaseUrl), password: password.trim(), max: 1 })
  })
  try {
    const { started } = server
    const token = (await readFile(started.adminTokenFile, 'utf8')).trim()
    const hosts = Array.from({ length: HOSTS }, (_, n) => ({ name: `host-${n}`, ...generateKeyPair() }))
    const builderKey = generateKeyPair()
    await put({ url: started.url, token }, '/v1/fleet', {
      flakes: [{ name: 'fleet', repo_url: 'https://git.example.com/infra/fleet', auto_poll: false }],
      builders: [{ name: 'scripted', public_key: renderPublicKey(builderKey.publicKey) }],
      systems: hosts.map(({ name, publicKey }) => ({
        hostname: name,
        flake_name: 'fleet',
        public_key: renderPublicKey(publicKey),
      })),
    })
    const reportAll = async (body: (name: string) => object): Promise<void> => {
      for (const { name, seed } of hosts) await report(started, seed, body(name))
    }
    await reportAll(newState)
    const state = await counter.during(HOSTS, () => reportAll(newState))
    const beats = await counter.during(HOSTS * BEATS, async () => {
      for (let time = 0; time < BEATS; time++) await reportAll(heartbeatBody)
    })
    const heartbeat = { ...beats, dbBytes: beats.dbBytes * BEATS }
    const builder = await scriptedBuilder({
      url: started.url,
      awsEndpoint: started.awsEndpoint,
      seed: builderKey.seed,
    })
    const push = async (n: number): Promise<void> => {
      builder.commits.push(commit(n))
      await post({ url: started.url, token }, '/v1/flakes/fleet/poll')
      await evaluated({ url: started.url, token }, commit(n).rev)
    }
    await push(0)
    const commits = await counter.during(COMMITS, async () => {
      for (let n = 1; n <= COMMITS; n++) await push(n)
    })
    await builder.stop()
    return { state, heartbeat, commit: { ...commits, perHostMs: commits.ms / HOSTS } }
  } finally {
    counter.stop()
    await server.stop()
    await rm(directory, { recursive: true, force: true })
  }
}

type Counter = {
  /** What the work did, for each of `units`. */
  during(units: number, work: () => Promise<void>): Promise<PerUnit>
  stop(): void
}

/** What stays: nonces, receipts, messages and the like are dropped again by the sweep. */
const KEPT_BYTES = `
select coalesce(sum(pg_total_relation_size(c.oid)), 0)::int8 as bytes from pg_class c
where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'
  and c.relname !~ '^(request_nonce|report_receipt|outbox|audit_pending|hook_delivery)'`

const WAL_BYTES = `select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::int8 as bytes`

/** Counts what the servers of this process are asked: the API by its routes, SQS and S3 by what they were addressed as. */
function countRequests(open: () => Promise<Pool>): Counter {
  const begun = new WeakMap<IncomingMessage, number>()
  let seen = { requests: 0, ms: 0, sqs: 0, s3: 0 }
  const onStart = (message: unknown): void => {
    const request = requestOf(message)
    if (request === undefined) return
    begun.set(request, performance.now())
    if (typeof request.headers['x-amz-target'] === 'string') seen.sqs += polls(request) ? 0 : 1
    else if (isApi(request)) seen.requests += isRead(request) ? 0 : 1
    else seen.s3++
  }
  const onFinish = (message: unknown): void => {
    const request = requestOf(message)
    const start = request === undefined ? undefined : begun.get(request)
    if (request !== undefined && start !== undefined && isApi(request) && !isRead(request))
      seen.ms += performance.now() - start
  }
  subscribe('http.server.request.start', onStart)
  subscribe('http.server.response.finish', onFinish)
  return {
    during: async (units, work) => {
      const pool = await open()
      const bytes = async (): Promise<number> => {
        await pool.query('vacuum full')
        const { rows } = await pool.query<{ bytes: number }>(KEPT_BYTES)
        return rows[0]?.bytes ?? 0
      }
      try {
        const wal = async (): Promise<number> => {
          const { rows } = await pool.query<{ bytes: number }>(WAL_BYTES)
          return rows[0]?.bytes ?? 0
        }
        const before = await bytes()
        const walBefore = await wal()
        seen = { requests: 0, ms: 0, sqs: 0, s3: 0 }
        await work()
        const { requests, ms, sqs, s3 } = seen
        const written = (await wal()) - walBefore
        const grown = Math.max(0, (await bytes()) - before)
        return {
          requests: requests / units,
          ms: ms / units,
          sqs: sqs / units,
          s3: s3 / units,
          dbBytes: grown / units,
          walBytes: written / units,
        }
      } finally {
        await pool.end()
      }
    },
    stop: () => {
      unsubscribe('http.server.request.start', onStart)
      unsubscribe('http.server.response.finish', onFinish)
    },
  }
}

const started = z.object({
  request: z.custom<IncomingMessage>((value) => typeof value === 'object' && value !== null),
})

function requestOf(message: unknown): IncomingMessage | undefined {
  return started.safeParse(message).data?.request
}

/** Waiting for messages is counted by time, not by work. */
function polls({ headers }: IncomingMessage): boolean {
  return headers['x-amz-target'] === 'AmazonSQS.ReceiveMessage'
}

/** Only this bench asks, to see how far the others are. */
function isRead({ method }: IncomingMessage): boolean {
  return method === 'GET'
}

function isApi({ url = '' }: IncomingMessage): boolean {
  return url.startsWith('/v1/') || url.startsWith('/webhook')
}

type Parts = { readonly prices: Prices; readonly fixed: Fixed; readonly sample: Sample }

function priced(
  fleet: Fleet,
  parts: Parts,
): Measured['rows'][number] & { hosts: number; 'per host': number } {
  const { perUnit, perMonth } = parts.prices
  const used = multiplied(fleet.hosts, parts.sample)
  const { fixed } = parts
  const logGbPerRequest = fixed.logBytesPerRequest / 1e9
  const instance = perMonth.instances[fleet.instance] ?? Number.NaN
  const databaseGb = Math.max(20, used.databaseGb * 1.3)
  const costs = {
    api: used.requests * perUnit.httpApiRequest,
    lambda: used.invocations * perUnit.lambdaRequest + used.gbSeconds * perUnit.lambdaArmGbSecond,
    queues: used.sqs * perUnit.sqsRequest,
    objects: objects(used, parts.prices),
    // A standby has the same instance and the same disk. Backups cost what they are larger than one of the disks.
    database:
      2 * (instance + databaseGb * perMonth.rdsGp3Gb) +
      Math.max(0, used.backupGb - databaseGb) * perMonth.rdsBackupGb,
    logs: used.requests * logGbPerRequest * perUnit.logGb,
    fixed:
      fixed.alarms * perMonth.alarm +
      fixed.metrics * perMonth.customMetric +
      fixed.dashboards * perMonth.dashboard +
      fixed.keys * perMonth.kmsKey +
      fixed.secrets * perMonth.secret +
      fixed.endpoints * fixed.zones * perMonth.interfaceEndpointPerZone,
  }
  const total = Object.values(costs).reduce((sum, one) => sum + one, 0)
  const standby = instance + databaseGb * perMonth.rdsGp3Gb
  const each = (usd: number): number => Math.round((usd / fleet.hosts) * 10_000) / 10_000
  const cents = (usd: number): number => Math.round(usd * 100) / 100
  return {
    hosts: fleet.hosts,
    instance: fleet.instance,
    ...Object.fromEntries(Object.entries(costs).map(([name, usd]) => [name, cents(usd)])),
    total: cents(total),
    'per host': each(total),
    'without standby': each(total - standby),
    'empty account': each(total - free({ ...used, logGb: used.requests * logGbPerRequest }, parts)),
  }
}

/** A year of NARs, each a month at the first price, two at the second and the rest at the third. */
function objects(used: Used, { perUnit, perMonth }: Prices): number {
  const { newNarGbPerMonth: gb, narKeptMonths: months } = ASSUMED
  const stored = perMonth.s3Gb + 2 * perMonth.s3InfrequentGb + (months - 3) * perMonth.s3ArchiveInstantGb
  return (
    used.s3Puts * perUnit.s3Put +
    used.newNars * (perUnit.s3TierTransition + months * perMonth.s3TieredObject) +
    gb * stored
  )
}

/** What of the total an account pays nothing for that has nothing else in it. */
function free(used: Used & { readonly logGb: number }, { prices, fixed }: Parts): number {
  const { freeEachMonth, perUnit, perMonth } = prices
  return (
    Math.min(used.invocations, freeEachMonth.lambdaRequests) * perUnit.lambdaRequest +
    Math.min(used.gbSeconds, freeEachMonth.lambdaGbSeconds) * perUnit.lambdaArmGbSecond +
    Math.min(used.sqs, freeEachMonth.sqsRequests) * perUnit.sqsRequest +
    Math.min(used.logGb, freeEachMonth.logGb) * perUnit.logGb +
    Math.min(fixed.alarms, freeEachMonth.alarms) * perMonth.alarm +
    Math.min(fixed.metrics, freeEachMonth.customMetrics) * perMonth.customMetric +
    Math.min(fixed.dashboards, freeEachMonth.dashboards) * perMonth.dashboard
  )
}

type Used = Readonly<
  Record<
    'requests' | 'invocations' | 'gbSeconds' | 'sqs' | 's3Puts' | 'newNars' | 'databaseGb' | 'backupGb',
    number
  >
>

function multiplied(hosts: number, { state, heartbeat, commit }: Sample): Used {
  const days = 30.4
  const commits = ASSUMED.commitsPerMonth
  const states = hosts * commits * ASSUMED.changedShare
  const heartbeats = (hosts * days * 86_400) / ASSUMED.reportEveryS - states
  // Evaluations of a commit are one for each host, in batches; everything else of a commit does not grow with the fleet.
  const grown = Math.max(1, hosts / HOSTS)
  const builders = Math.max(1, Math.ceil((hosts / 1000) * ASSUMED.buildersPerThousandHosts))
  const polls = (builders * ASSUMED.lanesPerBuilder * days * 86_400) / 20
  const ms = states * state.ms + heartbeats * heartbeat.ms + commits * commit.ms * grown
  const scheduled = 2 * 60 * 24 * days
  const walBytes =
    states * state.walBytes + heartbeats * heartbeat.walBytes + commits * commit.walBytes * grown
  const bytes = states * state.dbBytes + hosts * days * heartbeat.dbBytes + commits * commit.dbBytes * grown
  const requests =
    states * state.requests + heartbeats * heartbeat.requests + commits * commit.requests * grown
  const newNars = commits * ASSUMED.newNarsPerCommit
  return {
    requests,
    invocations: requests + scheduled,
    gbSeconds: ((ms * ASSUMED.slowerInLambda) / 1000 + scheduled * 0.1) * ASSUMED.lambdaGb,
    sqs: polls + commits * commit.sqs * grown,
    // A NAR and its narinfo.
    s3Puts: newNars * 2,
    newNars,
    databaseGb: (bytes * ASSUMED.historyKeptMonths) / 1e9,
    backupGb: (bytes * ASSUMED.historyKeptMonths + (walBytes * ASSUMED.backupDays) / days) / 1e9,
  }
}

type At = { readonly url: string; readonly token: string }

async function report({ url }: Started, seed: SecretSeed, body: object): Promise<void> {
  const path = '/v1/agent/reports'
  const bytes = Buffer.from(JSON.stringify(body))
  const headers = signRequest({
    method: 'POST',
    authority: new URL(url).host,
    target: path,
    body: bytes,
    tag: 'crystal-forge-agent-v1',
    now: new Date(),
    seed,
    nonce: nonce(),
  })
  const answer = await fetch(url + path, { method: 'POST', headers, body: bytes })
  if (answer.status !== 202) throw new Error(`report: ${answer.status} ${await answer.text()}`)
}

let generations = 100
let beats = 0
const digests = new Map<string, string>()

function newState(hostname: string): object {
  const body = stateBody(hostname, { generation: ++generations })
  const parsed = agentReport.parse(body)
  if (parsed.kind === 'state') digests.set(hostname, stateDigest(parsed))
  return body
}

function heartbeatBody(hostname: string): object {
  return {
    v: 1,
    kind: 'heartbeat',
    report_id: `beat-${String(beats++).padStart(20, '0')}`,
    hostname,
    collected_at: new Date().toISOString(),
    state_digest: digests.get(hostname) ?? '',
  }
}

async function evaluated(at: At, rev: string): Promise<void> {
  for (;;) {
    const found = await get(at, `/v1/systems/host-${HOSTS - 1}/drift`)
    if (found['desired_rev'] === rev) return
    await sleep(50)
  }
}

async function get(at: At, path: string): Promise<Record<string, unknown>> {
  return z.looseObject({}).parse(await send(at, 'GET', path))
}

async function put(at: At, path: string, body: object): Promise<void> {
  await send(at, 'PUT', path, body)
}

async function post(at: At, path: string): Promise<void> {
  await send(at, 'POST', path)
}

async function send({ url, token }: At, method: string, path: string, body?: object): Promise<unknown> {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  const sent = body === undefined ? {} : { body: JSON.stringify(body) }
  const answer = await fetch(url + path, { method, headers, ...sent })
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`)
  return answer.json()
}

/** One host in ten has something new. */
function commit(n: number): ScriptedCommit {
  return {
    rev: createHash('sha1').update(`cost ${n}`).digest('hex'),
    committedAt: new Date(Date.UTC(2026, 10, 1) + n * 60_000),
    configurations: Array.from({ length: HOSTS }, (_, host) => {
      const version = host % 10 === 9 ? n : 0
      const path = (what: string): string => {
        const digest = createHash('sha256').update(`${what} ${host} ${version}`).digest().subarray(0, 20)
        return `/nix/store/${encodeNixBase32(digest)}-nixos-system-host-${host}-25.11`
      }
      return { name: `host-${host}`, drvPath: `${path('drv')}.drv`, outPath: path('out') }
    }),
  }
}

const HOSTS = 100
const BEATS = 10
const COMMITS = 5

if (import.meta.main) {
  const { rows, verdict, settings } = await measureCost()
  console.table(rows)
  console.log(JSON.stringify(settings))
  console.log(verdict)
}
