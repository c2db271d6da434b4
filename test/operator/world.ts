import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import type { Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { app as controlsApi } from '@crystal-forge/functions/controls-api/app.ts'
import { readConfig as readControlsApi } from '@crystal-forge/functions/controls-api/config.ts'
import type { HttpHandler } from '@crystal-forge/functions/http-api.ts'
import { tokenDigest } from '@crystal-forge/functions/operator.ts'
import { app as operatorApi } from '@crystal-forge/functions/operator-api/app.ts'
import { readConfig as readOperatorApi } from '@crystal-forge/functions/operator-api/config.ts'
import { ROUTES, type Role } from '@crystal-forge/functions/routes.ts'
import { app as status } from '@crystal-forge/functions/status/app.ts'
import { readConfig as readStatus } from '@crystal-forge/functions/status/config.ts'
import { inTransaction } from '@crystal-forge/postgres'
import { generateKeyPair, renderPublicKey, renderSeed } from '@crystal-forge/protocol'
import { createGateway } from '../../server/src/gateway.ts'
import { databaseEnvironment } from '../postgres/agent-fleet.ts'
import { createTestDatabase, type TestDatabase } from '../postgres/test-database.ts'

// biome-ignore lint/suspicious/noExplicitAny: tests look into answers of many shapes
export type Answer = { readonly status: number; readonly body: any }

export type OperatorWorld = {
  readonly database: TestDatabase
  readonly tenant: string
  readonly url: string
  /** The functions themselves, for what only a gateway of AWS can say. */
  readonly handlers: Readonly<Record<string, HttpHandler>>
  /** Of the key that signs bundles of exports, as operators pin it. */
  readonly exportPublicKey: string
  readonly logged: readonly { readonly level: string; readonly message: string }[]
  readonly tokens: Readonly<Record<Role, string>>
  api(
    method: string,
    path: string,
    options?: { readonly role?: Role | null; readonly body?: unknown },
  ): Promise<Answer>
  /** New commits at the end of a flake's branch; after `base`, what followed it has left the branch. */
  commits(flake: string, revs: readonly string[], base?: string): Promise<void>
  evaluate(
    rev: string,
    configuration: string,
    result: { readonly outPath: string } | { readonly error: string },
  ): Promise<void>
  /** Marks what yields a path as built, and commits its closure. */
  built(outPath: string, closure?: readonly string[]): Promise<void>
  report(hostname: string, state: ReportedState): Promise<void>
  rows(sql: string, values?: readonly unknown[]): Promise<Record<string, unknown>[]>
  stop(): Promise<void>
}
export type ReportedState = {
  readonly current: string
  readonly booted?: string
  readonly profile?: string
  readonly secondsAgo?: number
}

/** The operator API and the health route over HTTP, on a database of their own, with one tenant and a token of each role. */
export async function operatorWorld(): Promise<OperatorWorld> {
  const database = await createTestDatabase()
  const directory = await mkdtemp(join(tmpdir(), 'cf-operator-'))
  const sealingKeyFile = join(directory, 'sealing.key')
  await writeFile(sealingKeyFile, randomBytes(32).toString('base64'))
  const logged: { level: string; message: string }[] = []
  const log = (level: string, message: string, fields?: object): void => {
    logged.push({ level, message: `${message} ${JSON.stringify(fields, errorText)}` })
  }
  const environment = { SEALING_KEY_FILE: sealingKeyFile }
  const operators = operatorApi(
    readOperatorApi({ ...environment, ...databaseEnvironment(database.url, 'cf_operators') }),
    { log },
  )
  const { seed, publicKey } = generateKeyPair()
  const exportKeyFile = join(directory, 'export.key')
  await writeFile(exportKeyFile, renderSeed(seed))
  const controls = controlsApi(
    readControlsApi({
      EXPORT_SIGNING_KEY_FILE: exportKeyFile,
      ...databaseEnvironment(database.url, 'cf_controls'),
    }),
    { log, catalogue: CATALOGUE },
  )
  const health = status(readStatus(databaseEnvironment(database.url, 'cf_status')), { log })
  const handlers: Record<string, HttpHandler> = {
    'operator-api': operators.handler,
    'controls-api': controls.handler,
    status: health.handler,
  }
  const server = createGateway({
    routes: ROUTES,
    handler: (name) => handlers[name],
    log,
    afterAnswer: () => undefined,
  })
  const url = await listening(server)
  const tenant = await addTenant(database, 'one')
  const tokens = {
    viewer: await addToken(database, tenant, 'viewer'),
    operator: await addToken(database, tenant, 'operator'),
    approver: await addToken(database, tenant, 'approver'),
    admin: await addToken(database, tenant, 'admin'),
  }
  return {
    database,
    tenant,
    url,
    handlers,
    exportPublicKey: renderPublicKey(publicKey),
    logged,
    tokens,
    api: async (method, path, { role = 'admin', body } = {}) => {
      const headers = role === null ? {} : { authorization: `Bearer ${tokens[role]}` }
      const sent = body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }
      const response = await fetch(`${url}${path}`, { method, headers, ...sent })
      const text = await response.text()
      return { status: response.status, body: text === '' ? null : JSON.parse(text) }
    },
    ...history(database, tenant),
    rows: async (sql, values = []) => (await database.admin.query(sql, [...values])).rows,
    stop: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
      await Promise.all([operators.close(), controls.close(), health.close()])
      await database.drop()
      await rm(directory, { recursive: true })
    },
  }
}

const CATALOGUE = join(import.meta.dirname, '../../catalogue')

export async function addTenant(database: TestDatabase, name: string): Promise<string> {
  const { rows } = await database.admin.query('insert into tenant (name) values ($1) returning id', [name])
  return rows[0].id
}

export async function addToken(database: TestDatabase, tenant: string, role: Role): Promise<string> {
  const token = `cf_${randomBytes(32).toString('base64url')}`
  await database.admin.query(
    `insert into api_token (tenant_id, name, role, token_sha256, created_by, expires_at)
     values ($1, $2, $3, $4, 'test', now() + interval '1 day')`,
    [tenant, `${role} of a test`, role, tokenDigest(token)],
  )
  return token
}

/** A store path whose hash is made of a letter, so that tests can name paths. */
export function path(letter: string, name: string): string {
  return `/nix/store/${letter.repeat(32)}-${name}`
}

export function rev(digit: string): string {
  return digit.repeat(40)
}

type History = Pick<OperatorWorld, 'commits' | 'evaluate' | 'built' | 'report'>

function history(database: TestDatabase, tenant: string): History {
  const inTenant = (
    work: (query: (sql: string, values: unknown[]) => Promise<unknown>) => Promise<unknown>,
  ) =>
    inTransaction(database.admin, { tenant }, (transaction) =>
      work(async (sql, values) => await transaction.query(sql, values)),
    )
  const actor = JSON.stringify({ kind: 'system' })
  return {
    commits: async (flake, revs, base) => {
      const found = revs.map((one, n) => ({
        rev: one,
        committed_at: `2026-11-2${n % 10}T10:00:00Z`,
        subject: `change ${one.slice(0, 4)}`,
      }))
      await inTenant((query) =>
        query(
          `select record_commits(f.id, $2,
             coalesce($4, (select rev from commit c where c.flake_id = f.id order by position desc limit 1)), true, 100, $3)
           from flake f where f.name = $1`,
          [flake, JSON.stringify(found), actor, base ?? null],
        ),
      )
    },
    evaluate: async (one, configuration, result) => {
      const verdict =
        'error' in result
          ? { state: 'error', class: 'eval', message: result.error }
          : {
              state: 'ok',
              drv_path: `${result.outPath}.drv`,
              out_path: result.outPath,
              system: 'x86_64-linux',
            }
      const body = { configuration, duration_ms: 5, ...verdict }
      await inTenant(async (query) => {
        await query(`select record_evaluation(id, 'nix 2.34', $2, $3) from commit where rev = $1`, [
          one,
          actor,
          JSON.stringify(body),
        ])
        await query(`update commit set state = 'evaluated', evaluated_at = now() where rev = $1`, [one])
      })
    },
    built: async (outPath, closure = []) => {
      await inTenant(async (query) => {
        await query(`update derivation set state = 'cached' where out_path = $1`, [outPath])
        if (closure.length === 0) return
        await query(
          `insert into builder (tenant_id, name, active) values (cf_tenant(), 'gone', false) on conflict do nothing`,
          [],
        )
        await query(
          `insert into store_path (tenant_id, path, nar_hash, nar_size, reference_ids, url, compression, file_hash, file_size, signature, builder_id)
           select cf_tenant(), p, 'sha256-x', 1, '{}', 'nar/x', 'none', 'sha256-x', 1, 's', (select id from builder where name = 'gone')
           from unnest($1::text[]) p on conflict do nothing`,
          [closure],
        )
        await query(
          `insert into closure (tenant_id, toplevel, path_ids, nar_size, sha256)
           select cf_tenant(), $1, array_agg(id), 1, 'x' from store_path where path = any ($2)`,
          [outPath, closure],
        )
      })
    },
    report: async (hostname, state) => {
      await inTenant((query) =>
        query(
          `insert into system_current (system_id, tenant_id, state_id, digest, current_path, booted_path, profile_path, assurance,
             collected_at, state_received_at, seen_at)
           select id, tenant_id, 'sta_x', '\\x00', $2, $3, $4, 'rfc9421', now(), now(), now() - make_interval(secs => $5)
           from system where hostname = $1
           on conflict (system_id) do update set current_path = excluded.current_path, booted_path = excluded.booted_path,
             profile_path = excluded.profile_path, seen_at = excluded.seen_at`,
          [
            hostname,
            state.current,
            state.booted ?? state.current,
            state.profile ?? state.current,
            state.secondsAgo ?? 0,
          ],
        ),
      )
    },
  }
}

async function listening(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the server has no port')
  return `http://127.0.0.1:${address.port}`
}

function errorText(_key: string, value: unknown): unknown {
  return value instanceof Error ? `${value.message}` : value
}
