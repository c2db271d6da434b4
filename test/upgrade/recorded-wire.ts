import { createHash } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bucket, s3Client } from '@crystal-forge/aws'
import { app as agentKeys } from '@crystal-forge/functions/agent-keys/app.ts'
import { readConfig as readAgentKeys } from '@crystal-forge/functions/agent-keys/config.ts'
import { app as agentReports } from '@crystal-forge/functions/agent-reports/app.ts'
import { readConfig as readAgentReports } from '@crystal-forge/functions/agent-reports/config.ts'
import { app as builderCache } from '@crystal-forge/functions/builder-cache/app.ts'
import { readConfig as readBuilderCache } from '@crystal-forge/functions/builder-cache/config.ts'
import { app as builderJobs } from '@crystal-forge/functions/builder-jobs/app.ts'
import { readConfig as readBuilderJobs } from '@crystal-forge/functions/builder-jobs/config.ts'
import type { HttpHandler } from '@crystal-forge/functions/http-api.ts'
import { ROUTES } from '@crystal-forge/functions/routes.ts'
import type { Pool } from '@crystal-forge/postgres'
import {
  keyId,
  parseSeed,
  publicKeyOfSeed,
  renderCacheSecretKey,
  renderSeed,
  type SecretSeed,
} from '@crystal-forge/protocol'
import type { APIGatewayProxyEventV2, Context } from 'aws-lambda'
import * as z from 'zod'
import { startEmbeddedAws } from '../../server/src/embedded-aws.ts'
import { AUTHORITY, databaseEnvironment, post } from '../postgres/agent-fleet.ts'

/** One request as it was sent once, byte for byte, and what must come back for ever. */
export const recordedMessage = z.strictObject({
  name: z.string(),
  route: z.string(),
  path: z.string(),
  headers: z.record(z.string(), z.string()),
  body: z.string(),
  /** Of a claim: the fence that was given, which the messages about the job carry. */
  fence: z.int().optional(),
  answer: z.strictObject({ status: z.int(), body: z.record(z.string(), z.json()) }),
})
export type RecordedMessage = z.infer<typeof recordedMessage>

/** The clock of the recording. */
export const RECORDED_AT: Date = new Date('2026-11-22T19:30:00.000Z')

/** Keys of the recording, by name. */
export function seedOf(name: string): SecretSeed {
  const seed = parseSeed(createHash('sha256').update(`cf-test-seed:wire-0.3:${name}`).digest('base64'))
  if (seed === null) throw new Error(`no seed for ${name}`)
  return seed
}

/** Ids that the recorded messages name. */
export const IDS = {
  tenant: 't_00000000000000000000000000000003',
  flake: 'flk_wire03',
  builder: 'bld_wire03',
  commit: 'cmt_wire03',
  derivations: { build: 'drv_wire03_build', scan: 'drv_wire03_scan', fail: 'drv_wire03_fail' },
  jobs: {
    resolve: 'job_wire03_resolve',
    evaluate: 'job_wire03_evaluate',
    build: 'job_wire03_build',
    scan: 'job_wire03_scan',
    fail: 'job_wire03_fail',
  },
} as const

export function recordedPath(name: string): string {
  const digest = createHash('sha256').update(name).digest()
  const alphabet = '0123456789abcdfghijklmnpqrsvwxyz'
  return `/nix/store/${Array.from({ length: 32 }, (_, n) => alphabet[(digest[n] ?? 0) % 32]).join('')}-${name}`
}
export const recordedRev = (word: string): string => createHash('sha1').update(word).digest('hex')

export type Replay = {
  /** Sends a message to the function of its route, whose clock stands at the time of the recording. */
  send(message: Pick<RecordedMessage, 'route' | 'path' | 'headers' | 'body' | 'fence'>): Promise<{
    readonly status: number
    readonly body: Record<string, unknown>
  }>
  putNar(key: string, content: Uint8Array): Promise<void>
  close(): Promise<void>
}

/** The control plane as it is now, on a database that has what the recorded messages are about. */
export async function startReplay(database: { readonly url: string; readonly admin: Pool }): Promise<Replay> {
  await stage(database.admin)
  const directory = await mkdtemp(join(tmpdir(), 'cf-recorded-wire-'))
  const aws = await startEmbeddedAws({ dataDir: join(directory, 'aws'), ephemeral: true })
  await aws.ensureBucket('cache')
  const file = async (name: string, content: string): Promise<string> => {
    await writeFile(join(directory, name), content)
    return join(directory, name)
  }
  const common = {
    PUBLIC_AUTHORITY: AUTHORITY,
    AWS_REGION: 'us-east-1',
    AWS_ENDPOINT_URL: aws.endpoint,
    CACHE_BUCKET: 'cache',
    LEASE_S: '60',
    ...Object.fromEntries(
      ['RESOLVE', 'EVALUATE', 'BUILD', 'SCAN'].map((kind) => [
        `QUEUE_URL_${kind}`,
        `https://sqs.example.com/${kind}`,
      ]),
    ),
    JOB_SIGNING_KEY_FILE: await file('job.key', renderSeed(seedOf('job'))),
    NARINFO_KEY_FILE: await file(
      'narinfo.key',
      renderCacheSecretKey({ name: 'cache-1', seed: seedOf('narinfo') }),
    ),
  }
  const as = (role: string): Record<string, string> => ({
    ...common,
    ...databaseEnvironment(database.url, role),
  })
  const log = (level: string, message: string, fields?: object): void => {
    if (level === 'error') process.stderr.write(`${message} ${String(Reflect.get(fields ?? {}, 'error'))}\n`)
  }
  const parts = { log, now: () => RECORDED_AT }
  const apps = {
    'agent-reports': agentReports(readAgentReports(as('cf_ingest')), parts),
    'agent-keys': agentKeys(readAgentKeys(as('cf_enroll')), parts),
    'builder-jobs': builderJobs(readBuilderJobs(as('cf_builders')), parts),
    'builder-cache': builderCache(readBuilderCache(as('cf_cache')), parts),
  }
  const handlers: Readonly<Record<string, HttpHandler | undefined>> = Object.fromEntries(
    Object.entries(apps).map(([name, { handler }]) => [name, handler]),
  )
  return {
    send: async (message) => {
      if (message.fence !== undefined)
        await database.admin.query(`select setval('job_fence', $1, false)`, [message.fence])
      const handler = handlers[ROUTES.find(({ key }) => key === message.route)?.function ?? '']
      if (handler === undefined) throw new Error(`nothing answers ${message.route}`)
      const result = await handler(eventOf(message), CONTEXT)
      return { status: result.statusCode ?? 0, body: JSON.parse(result.body || '{}') }
    },
    putNar: async (key, content) => {
      const client = s3Client({ region: 'us-east-1', endpoint: { s3: aws.endpoint } })
      await bucket(client, 'cache').put(key, content)
      client.destroy()
    },
    close: async () => {
      await Promise.all(Object.values(apps).map((one) => one.close()))
      await aws.close()
      await rm(directory, { recursive: true, force: true })
    },
  }
}

function eventOf(
  message: Pick<RecordedMessage, 'route' | 'path' | 'headers' | 'body'>,
): APIGatewayProxyEventV2 {
  const event = post(message.path, { host: AUTHORITY, ...message.headers }, Buffer.from(message.body))
  const job = /\/jobs\/([^/]+)\//.exec(message.path)?.[1]
  return { ...event, routeKey: message.route, ...(job === undefined ? {} : { pathParameters: { job } }) }
}

/** What was there before the first message: a tenant, a token, a builder, a flake, and a job of each kind. */
async function stage(admin: Pool): Promise<void> {
  const { tenant, flake, commit, derivations } = IDS
  const run = (sql: string, values: unknown[] = []): Promise<unknown> => admin.query(sql, values)
  const keyOf = (name: string): [string, Buffer] => {
    const publicKey = publicKeyOfSeed(seedOf(name))
    return [keyId(publicKey), Buffer.from(publicKey)]
  }
  await run(`insert into tenant (id, name) values ($1, 'acme')`, [tenant])
  await run(
    `insert into enroll_token (tenant_id, key_id, public_key, hostname_pattern, created_by, created_at, expires_at)
     values ($1, $2, $3, 'web-*', 'test', $4::timestamptz, $4::timestamptz + interval '1 hour')`,
    [tenant, ...keyOf('token'), RECORDED_AT],
  )
  await run(`insert into builder (id, tenant_id, name) values ($1, $2, 'b1')`, [IDS.builder, tenant])
  await run('insert into builder_key (key_id, public_key, tenant_id, builder_id) values ($1, $2, $3, $4)', [
    ...keyOf('builder'),
    tenant,
    IDS.builder,
  ])
  const source = { kind: 'forge', via: 'https', host: 'git.example.com', owner: 'acme', repo: 'fleet' }
  await run(
    `insert into flake (id, tenant_id, name, repository_url, source) values ($1, $2, 'fleet', 'https://git.example.com/acme/fleet', $3)`,
    [flake, tenant, source],
  )
  await run(
    `insert into commit (id, tenant_id, flake_id, rev, position, committed_at, subject) values ($1, $2, $3, $4, 1, $5, 'first')`,
    [commit, tenant, flake, recordedRev('first'), RECORDED_AT],
  )
  for (const [name, id] of Object.entries(derivations)) {
    const path = recordedPath(`nixos-system-${name}`)
    await run(
      `with d as (insert into derivation (id, tenant_id, drv_path, out_path, name, state) values ($1, $2, $3 || '.drv', $3, $4, $5) returning id),
       g as (insert into configuration (tenant_id, flake_id, name) values ($2, $6, $4) returning id)
       insert into evaluation (tenant_id, commit_id, configuration_id, state, derivation_id, evaluator, duration_ms)
       select $2, $7, g.id, 'ok', d.id, '2.31.2', 1 from d, g`,
      [id, tenant, path, name, name === 'scan' ? 'cached' : 'pending', flake, commit],
    )
  }
  const subjects = { resolve: flake, evaluate: commit, ...derivations }
  for (const [name, id] of Object.entries(IDS.jobs)) {
    const kind = name === 'fail' ? 'build' : name
    await run(
      `insert into job (id, tenant_id, kind, subject, payload, not_before) values ($1, $2, $3, $4, '{"system":"x86_64-linux"}', now() - interval '1 minute')`,
      [id, tenant, kind, subjects[name as keyof typeof subjects]],
    )
  }
}

/** Everything that the recorded messages brought into the database, without ids and times of its own making. */
export async function effectsOf(admin: Pick<Pool, 'query'>): Promise<Record<string, unknown[]>> {
  const effects: Record<string, unknown[]> = {}
  for (const [name, sql] of Object.entries(EFFECTS)) effects[name] = (await admin.query(sql)).rows
  // As it is kept in a file.
  return JSON.parse(JSON.stringify(effects))
}

const EFFECTS = {
  systems: `select s.hostname, k.key_id, k.status from system s join system_key k on k.system_id = s.id order by k.status`,
  states: `select report_id, encode(digest, 'hex') as digest, change_reason, current_path, booted_path, profile_path, facts,
             assurance, encode(evidence_sha256, 'hex') as evidence, collected_at, received_at from system_state order by report_id`,
  current: `select current_path, booted_path, profile_path, generation, boot_id, revision, failed_units, agent_version,
              nixos_version, kernel, collected_at, heartbeat_at from system_current`,
  heartbeats: 'select day, beats, first_at, last_at from heartbeat',
  receipts: 'select report_id, kind from report_receipt order by report_id',
  controlFacts: `select message_id, sequence, encode(previous_sha256, 'hex') as previous, boot_id, current_path, booted_path,
                   encode(stig_report_sha256, 'hex') as stig_report, agent_version, facts, collected_at from control_facts`,
  builders: 'select name, nix_version, systems, scanner, isolation from builder',
  commits: 'select rev, position, committed_at, subject, state from commit order by position',
  evaluations: `select g.name, e.state, e.error_class, e.error, e.error_trace, d.drv_path, d.out_path, d.export_key, e.agent_assertion,
                  e.facts, e.stig_report, e.evaluator, e.duration_ms
                from evaluation e join configuration g on g.id = e.configuration_id left join derivation d on d.id = e.derivation_id
                order by g.name, e.evaluator`,
  derivations: `select name, state, failure_class, error, nar_hash, closure_sha256, scan_state from derivation where id like 'drv_wire03%' order by id`,
  paths: `select path, nar_hash, nar_size, url, compression, file_hash, file_size, deriver, ca, signature from store_path order by path`,
  closures: 'select toplevel, nar_size, sha256 from closure',
  scans: 'select out_path, outcome, scanner, message from scan',
  findings: `select f.cve_id, f.package, f.version, f.derivation, f.whitelisted, c.cvss3, c.description
             from finding f join cve c on c.tenant_id = f.tenant_id and c.id = f.cve_id order by f.cve_id`,
  jobs: `select id, state, attempt, failure_class, failure_message, log_tail, progress, attestation is not null as attested
         from job where id like 'job_wire03%' order by id`,
  events:
    'select json_object_agg(type, count) as counts from (select type, count(*)::int from audit_event group by type) e',
}

const CONTEXT = {} as Context
