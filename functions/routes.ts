/** Who may call a route; how the caller is recognised is one module each (`signed-caller.ts`, `operator.ts`). */
export type Caller = 'agent' | 'builder' | 'operator' | 'forge' | 'anyone'

/** Roles of operators, each including the ones before it. */
export const ROLES = ['viewer', 'operator', 'approver', 'admin'] as const
export type Role = (typeof ROLES)[number]

export type FunctionName =
  | 'agent-reports'
  | 'agent-keys'
  | 'original-wire'
  | 'webhooks'
  | 'builder-jobs'
  | 'builder-cache'
  | 'operator-api'
  | 'controls-api'
  | 'status'

export type Route = {
  /** `METHOD /path/{parameter}` as API Gateway writes it. */
  readonly key: string
  readonly function: FunctionName
  readonly caller: Caller
  /** The least role of an operator; absent for other callers. */
  readonly role?: Role
  readonly bodyBytesMax: number
}

const KIB = 1024
/** wire.md: the limit of signed requests. */
const SIGNED = 1024 * KIB
/** A forge's push payload lists commits; more than this is no push that we need to read. */
const HOOK = 4096 * KIB

/** THE route table: the gateway in `infra/` and the server in `server/` are both made from it. */
export const ROUTES: readonly Route[] = [
  { key: 'GET /status', function: 'status', caller: 'anyone', bodyBytesMax: 0 },

  { key: 'POST /v1/agent/reports', function: 'agent-reports', caller: 'agent', bodyBytesMax: SIGNED },
  { key: 'POST /v1/agent/control-facts', function: 'agent-reports', caller: 'agent', bodyBytesMax: SIGNED },
  { key: 'POST /v1/agent/keys', function: 'agent-keys', caller: 'agent', bodyBytesMax: SIGNED },
  { key: 'POST /v1/enroll', function: 'agent-keys', caller: 'agent', bodyBytesMax: SIGNED },

  { key: 'POST /agent/state', function: 'original-wire', caller: 'agent', bodyBytesMax: 2048 * KIB },
  { key: 'POST /agent/heartbeat', function: 'original-wire', caller: 'agent', bodyBytesMax: 2048 * KIB },
  { key: 'POST /system_state', function: 'original-wire', caller: 'agent', bodyBytesMax: 2048 * KIB },

  { key: 'POST /v1/hooks/{hook}', function: 'webhooks', caller: 'forge', bodyBytesMax: HOOK },
  { key: 'POST /webhook', function: 'webhooks', caller: 'forge', bodyBytesMax: HOOK },

  { key: 'POST /v1/builder/hello', function: 'builder-jobs', caller: 'builder', bodyBytesMax: SIGNED },
  { key: 'POST /v1/builder/claims', function: 'builder-jobs', caller: 'builder', bodyBytesMax: SIGNED },
  {
    key: 'POST /v1/builder/jobs/{job}/heartbeat',
    function: 'builder-jobs',
    caller: 'builder',
    bodyBytesMax: SIGNED,
  },
  {
    key: 'POST /v1/builder/jobs/{job}/evaluations',
    function: 'builder-jobs',
    caller: 'builder',
    bodyBytesMax: SIGNED,
  },
  {
    key: 'POST /v1/builder/jobs/{job}/result',
    function: 'builder-jobs',
    caller: 'builder',
    bodyBytesMax: SIGNED,
  },
  {
    key: 'POST /v1/builder/cache/missing',
    function: 'builder-cache',
    caller: 'builder',
    bodyBytesMax: SIGNED,
  },
  {
    key: 'POST /v1/builder/cache/commit',
    function: 'builder-cache',
    caller: 'builder',
    bodyBytesMax: SIGNED,
  },

  ...read(
    'operator-api',
    'systems',
    'systems/{system}',
    'systems/{system}/drift',
    'systems/{system}/states',
    'flakes',
    'flakes/{flake}',
    'hooks',
    'commits',
    'commits/{commit}',
    'evaluations',
    'evaluations/{evaluation}',
    'derivations',
    'jobs',
    'jobs/{job}',
    'jobs/{job}/waiting',
    'builders',
    'builders/{builder}',
    'drift',
    'findings',
    'events',
    'environments',
    'cache',
  ),
  ...write(
    'operator-api',
    'operator',
    'POST systems',
    'PATCH systems/{system}',
    'POST systems/{system}/deactivate',
    'POST flakes',
    'PATCH flakes/{flake}',
    'POST flakes/{flake}/deactivate',
    'POST flakes/{flake}/poll',
    'POST jobs/{job}/retry',
    'POST jobs/{job}/cancel',
    'GET dlq',
    'POST dlq/retry',
  ),
  ...write(
    'operator-api',
    'admin',
    'PUT fleet',
    'POST systems/{system}/keys',
    'POST keys/{key}/revoke',
    'GET enroll-tokens',
    'POST enroll-tokens',
    'POST enroll-tokens/{token}/revoke',
    'GET tokens',
    'POST tokens',
    'POST tokens/{token}/revoke',
    'POST original-wire',
  ),

  ...read(
    'controls-api',
    'controls',
    'systems/{system}/controls',
    'commits/{commit}/controls',
    'scores',
    'exports/{format}',
    'export-manifest',
    'attestations',
    'waivers',
    'waivers/{waiver}',
  ),
  ...write(
    'controls-api',
    'operator',
    'POST attestations',
    'POST imports',
    'POST waivers',
    'POST waivers/{waiver}/submit',
    'POST waivers/{waiver}/revoke',
  ),
  ...write(
    'controls-api',
    'approver',
    'POST attestations/{attestation}/accept',
    'POST attestations/{attestation}/reject',
    'POST waivers/{waiver}/approve',
    'POST waivers/{waiver}/reject',
  ),
]

type ForOperators = Extract<FunctionName, 'operator-api' | 'controls-api'>

function read(name: ForOperators, ...paths: string[]): Route[] {
  return paths.map((path) => ({
    key: `GET /v1/${path}`,
    function: name,
    caller: 'operator',
    role: 'viewer',
    bodyBytesMax: 0,
  }))
}

function write(name: ForOperators, role: Role, ...keys: string[]): Route[] {
  return keys.map((key) => ({
    key: key.replace(' ', ' /v1/'),
    function: name,
    caller: 'operator',
    role,
    // A fleet document names every host of the tenant.
    bodyBytesMax: SIGNED * 4,
  }))
}
