import { randomBytes } from 'node:crypto'
import { generateKeyPair, keyId, type SecretSeed, signRequest } from '@crystal-forge/protocol'
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2, Context } from 'aws-lambda'
import type pg from 'pg'
import type { HttpHandler } from '../../functions/http-api.ts'

/** A registered host with its key. */
export type FleetHost = {
  readonly tenant: string
  readonly system: string
  readonly hostname: string
  readonly seed: SecretSeed
  readonly publicKey: Uint8Array
  readonly keyId: string
}

export const AUTHORITY = 'api.cf.example.com'

/** Makes a tenant with hosts that may report. */
export async function makeTenant(
  admin: pg.Pool,
  name: string,
  hostnames: readonly string[],
): Promise<{ readonly tenant: string; readonly hosts: readonly FleetHost[] }> {
  const { rows } = await admin.query<{ id: string }>('insert into tenant (name) values ($1) returning id', [
    name,
  ])
  const tenant = rows[0]?.id ?? ''
  const hosts: FleetHost[] = []
  for (const hostname of hostnames) hosts.push(await makeHost(admin, tenant, hostname))
  return { tenant, hosts }
}

export async function makeHost(admin: pg.Pool, tenant: string, hostname: string): Promise<FleetHost> {
  const { rows } = await admin.query<{ id: string }>(
    'insert into system (tenant_id, hostname) values ($1, $2) returning id',
    [tenant, hostname],
  )
  const system = rows[0]?.id ?? ''
  const pair = generateKeyPair()
  const id = keyId(pair.publicKey)
  await admin.query(
    'insert into system_key (key_id, tenant_id, system_id, hostname, public_key) values ($1, $2, $3, $4, $5)',
    [id, tenant, system, hostname, pair.publicKey],
  )
  return { tenant, system, hostname, ...pair, keyId: id }
}

export function nonce(): string {
  return randomBytes(16).toString('base64url')
}

/** A signed `POST`, as API Gateway would hand it over. */
export function signedPost(
  host: Pick<FleetHost, 'seed'>,
  path: string,
  body: object | Uint8Array,
  now: Date = new Date(),
): APIGatewayProxyEventV2 {
  const bytes = body instanceof Uint8Array ? body : Buffer.from(JSON.stringify(body))
  const headers = signRequest({
    method: 'POST',
    authority: AUTHORITY,
    target: path,
    body: bytes,
    tag: 'crystal-forge-agent-v1',
    now,
    seed: host.seed,
    nonce: nonce(),
  })
  return post(path, { host: AUTHORITY, ...headers }, bytes)
}

/** A `POST` as payload 2.0. */
export function post(
  path: string,
  headers: Readonly<Record<string, string>>,
  body: Uint8Array,
): APIGatewayProxyEventV2 {
  return {
    version: '2.0',
    routeKey: `POST ${path}`,
    rawPath: path,
    rawQueryString: '',
    headers: { ...headers },
    requestContext: {
      accountId: 'local',
      apiId: 'local',
      domainName: AUTHORITY,
      domainPrefix: 'api',
      http: { method: 'POST', path, protocol: 'HTTP/1.1', sourceIp: '192.0.2.1', userAgent: 'test' },
      requestId: 'test',
      routeKey: `POST ${path}`,
      stage: '$default',
      time: '22/Nov/2026:19:30:00 +0000',
      timeEpoch: 0,
    },
    body: Buffer.from(body).toString('base64'),
    isBase64Encoded: true,
  }
}

export type Answer = { readonly status: number | undefined; readonly body: Record<string, unknown> }

/** Calls a handler and reads its answer. */
export async function call(handler: HttpHandler, event: APIGatewayProxyEventV2): Promise<Answer> {
  const result: APIGatewayProxyStructuredResultV2 = await handler(event, CONTEXT)
  return { status: result.statusCode, body: result.body ? JSON.parse(result.body) : {} }
}

const CONTEXT: Context = {
  callbackWaitsForEmptyEventLoop: false,
  functionName: 'test',
  functionVersion: '1',
  invokedFunctionArn: 'arn:test',
  memoryLimitInMB: '128',
  awsRequestId: 'test',
  logGroupName: 'test',
  logStreamName: 'test',
  getRemainingTimeInMillis: () => 30_000,
  done: () => undefined,
  fail: () => undefined,
  succeed: () => undefined,
}

/** The variables of a function's database, as `server/` passes them. */
export function databaseEnvironment(url: string, role: string): Record<string, string> {
  const { hostname, port, pathname } = new URL(url)
  return {
    DATABASE_HOST: hostname,
    DATABASE_PORT: port,
    DATABASE_NAME: pathname.slice(1),
    DATABASE_USER: role,
    DATABASE_AUTH: 'trust',
    DATABASE_CONNECTIONS: '4',
  }
}

let reports = 0

/** A state report of a host, small but complete. */
export function stateBody(hostname: string, more: Record<string, unknown> = {}): Record<string, unknown> {
  reports++
  return {
    v: 1,
    kind: 'state',
    report_id: `report-${String(reports).padStart(16, '0')}`,
    hostname,
    collected_at: new Date().toISOString(),
    change_reason: 'startup',
    store_path: `/nix/store/${'0'.repeat(32)}-nixos-system-${hostname}-25.11`,
    booted_path: `/nix/store/${'0'.repeat(32)}-nixos-system-${hostname}-25.11`,
    failed_units: ['nginx.service'],
    generation: 12,
    boot_id: '0b4b7c6e-6a57-4f7b-9c7e-1f7a2f1c9b11',
    agent_version: '0.3.0',
    fingerprint: { os: '25.11', kernel: '6.12.58', nixos_version: '25.11', memory_bytes: 8_589_934_592 },
    ...more,
  }
}
