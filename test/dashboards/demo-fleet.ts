import type pg from 'pg'

/** A fleet with something of everything: hosts in several states, builds that went well and that did not, people and their statements. */
export async function seedFleet(admin: pg.Pool, name: string): Promise<{ readonly tenant: string }> {
  const one = async (sql: string, values: readonly unknown[] = []): Promise<string> => {
    const { rows } = await admin.query<{ id: string }>(sql, [...values])
    return rows[0]?.id ?? ''
  }
  const tenant = await one('insert into tenant (name) values ($1) returning id', [name])
  const add = (table: string, columns: Readonly<Record<string, unknown>>): Promise<string> => {
    const named = Object.entries({ tenant_id: tenant, ...columns })
    const names = named.map(([column]) => column).join(', ')
    const places = named.map((_, at) => `$${at + 1}`).join(', ')
    const key = NO_ID.has(table) ? 'tenant_id as id' : 'id'
    return one(
      `insert into ${table} (${names}) values (${places}) returning ${key}`,
      named.map(([, value]) => value),
    )
  }
  const parts = { add, one, tenant }
  const pipeline = await seedPipeline(parts)
  const hosts = await seedHosts(parts, pipeline)
  await seedJobs(parts, pipeline)
  await seedPeople(parts, hosts)
  return { tenant }
}

type Add = (table: string, columns: Readonly<Record<string, unknown>>) => Promise<string>
type Parts = {
  readonly add: Add
  readonly one: (sql: string, values?: readonly unknown[]) => Promise<string>
  readonly tenant: string
}

type Pipeline = {
  readonly flake: string
  readonly configuration: string
  readonly commits: readonly string[]
  readonly derivations: readonly string[]
  readonly builder: string
}

const NO_ID: ReadonlySet<string> = new Set([
  'configuration_path',
  'system_current',
  'heartbeat',
  'closure',
  'cve',
  'fleet_day',
])

/** The path that a commit yields. */
export const pathOf = (commit: number): string =>
  `/nix/store/${'0'.repeat(31)}${commit}-nixos-system-web-25.11`

const ago = (hours: number): Date => new Date(Date.now() - hours * 3_600_000)

const REPORT = {
  schema: 1,
  rules: {
    'V-268078': { state: 'active' },
    'V-268080': { state: 'inactive' },
    'V-268081': { state: 'justified' },
    'V-268079': { state: 'manual' },
  },
}

/** Three commits: the first in the cache, the second failed to build, the third is being built. One more fails as a whole. */
async function seedPipeline({ add }: Parts): Promise<Pipeline> {
  const flake = await add('flake', {
    name: 'infra',
    repository_url: 'https://x',
    source: { kind: 'local', path: '/x' },
  })
  const configuration = await add('configuration', { flake_id: flake, name: 'web' })
  const builder = await add('builder', {
    name: 'b1',
    systems: ['x86_64-linux'],
    last_seen_at: ago(0.01),
    nix_version: '2.34',
  })
  const commits: string[] = []
  const derivations: string[] = []
  for (const [at, state] of (['cached', 'failed', 'building'] as const).entries()) {
    const position = at + 1
    const commit = await add('commit', {
      flake_id: flake,
      rev: String(position).repeat(40),
      position,
      committed_at: ago(30 - at),
      discovered_at: ago(29 - at),
      evaluated_at: ago(28 - at),
      state: 'evaluated',
    })
    const derivation = await add('derivation', {
      drv_path: `${pathOf(position)}.drv`,
      out_path: pathOf(position),
      name: 'nixos-system-web',
      state,
      error: state === 'failed' ? 'builder failed' : null,
      attempts: 1,
      created_at: ago(28 - at),
      built_at: state === 'cached' ? ago(27) : null,
    })
    await add('evaluation', {
      commit_id: commit,
      configuration_id: configuration,
      state: 'ok',
      derivation_id: derivation,
      stig_report: REPORT,
      evaluator: '2.34',
      duration_ms: 1500,
      evaluated_at: ago(28 - at),
    })
    await add('configuration_path', {
      configuration_id: configuration,
      out_path: pathOf(position),
      first_position: position,
      last_position: position,
    })
    commits.push(commit)
    derivations.push(derivation)
  }
  await add('commit', {
    flake_id: flake,
    rev: 'f'.repeat(40),
    position: 0,
    committed_at: ago(40),
    state: 'failed',
    error: 'no flake',
  })
  return { flake, configuration, commits, derivations, builder }
}

/** Hosts by name. Who runs `web-1` came to the first commit today, `web-2` is silent, `new-1` has never reported. */
async function seedHosts(
  { add, one, tenant }: Parts,
  pipeline: Pipeline,
): Promise<ReadonlyMap<string, string>> {
  const { flake, configuration } = pipeline
  await one(
    `update configuration set latest_position = 3, desired_position = 3, desired_evaluation_id =
       (select id from evaluation where commit_id = $2), latest_evaluation_id = (select id from evaluation where commit_id = $2)
     where id = $1 returning id`,
    [configuration, pipeline.commits[2]],
  )
  const environment = await add('environment', { name: 'production' })
  const hosts = new Map<string, string>()
  for (const hostname of ['web-1', 'web-2', 'new-1'])
    hosts.set(
      hostname,
      await add('system', {
        hostname,
        environment_id: environment,
        flake_id: flake,
        configuration_id: configuration,
      }),
    )
  for (const [hostname, silent] of [
    ['web-1', 0],
    ['web-2', 2],
  ] as const) {
    const system = hosts.get(hostname)
    const facts = {
      agent_version: '0.3.0',
      fingerprint: { tpm_present: hostname === 'web-1', primary_ip_address: '192.0.2.1' },
    }
    const state = {
      system_id: system,
      digest: Buffer.alloc(32),
      facts,
      assurance: 'rfc9421',
      evidence_sha256: Buffer.alloc(32),
    }
    const minutesAgo = new Date(Date.now() - 60_000)
    const by_hand = `/nix/store/${'0'.repeat(32)}-nixos-by-hand`
    await add('system_state', {
      ...state,
      report_id: 'r1',
      change_reason: 'startup',
      current_path: by_hand,
      collected_at: ago(48),
      received_at: ago(48),
    })
    const newest = await add('system_state', {
      ...state,
      report_id: 'r2',
      change_reason: 'config_change',
      current_path: pathOf(1),
      collected_at: minutesAgo,
      received_at: minutesAgo,
    })
    await add('system_current', {
      system_id: system,
      state_id: newest,
      digest: Buffer.alloc(32),
      current_path: pathOf(1),
      agent_version: hostname === 'web-1' ? '0.10.0' : '0.9.0',
      assurance: 'rfc9421',
      failed_units: ['nginx.service'],
      collected_at: minutesAgo,
      state_received_at: minutesAgo,
      seen_at: ago(silent),
    })
    await add('heartbeat', {
      system_id: system,
      day: new Date().toISOString().slice(0, 10),
      beats: 12,
      minutes: '1',
      first_at: ago(1),
      last_at: ago(0),
    })
  }
  await add('closure', { toplevel: pathOf(1), path_ids: [1, 2], nar_size: 1000, sha256: '0' })
  for (const day of [3, 2, 1])
    await one(
      `insert into fleet_day values ($1, (now() at time zone 'UTC')::date - $2::integer, 4, 4 - $2::integer, 1, 0, 0, 0, 4, 2, 1, 0, 0, 1, 0, 1, 1, 1, 1, 60, now()) returning tenant_id as id`,
      [tenant, day],
    )
  return hosts
}

async function seedJobs({ add }: Parts, { flake, commits, derivations, builder }: Pipeline): Promise<void> {
  const job = (columns: Readonly<Record<string, unknown>>): Promise<string> =>
    add('job', { payload: {}, ...columns })
  const ended = { builder_id: builder, created_at: ago(3), started_at: ago(2.9), finished_at: ago(2.8) }
  await job({ kind: 'evaluate', subject: commits[0], state: 'succeeded', attempt: 2, ...ended })
  const scan = await job({ kind: 'scan', subject: derivations[0], state: 'succeeded', ...ended })
  await job({
    kind: 'build',
    subject: derivations[1],
    state: 'failed',
    failure_class: 'build',
    failure_message: 'builder failed',
    ...ended,
  })
  await job({
    kind: 'build',
    subject: derivations[2],
    state: 'leased',
    builder_id: builder,
    lease_until: ago(-1),
    started_at: ago(0.1),
  })
  await job({ kind: 'resolve', subject: flake, state: 'queued', created_at: ago(2) })
  await add('cve', { id: 'CVE-2014-0160', cvss3: 9.8 })
  const scanned = await add('scan', {
    derivation_id: derivations[0],
    out_path: pathOf(1),
    job_id: scan,
    outcome: 'scanned',
  })
  await add('finding', {
    scan_id: scanned,
    out_path: pathOf(1),
    cve_id: 'CVE-2014-0160',
    package: 'openssl',
    version: '1.0.1',
  })
}

async function seedPeople({ add }: Parts, hosts: ReadonlyMap<string, string>): Promise<void> {
  const facts = {
    agent_version: '0.3.0',
    facts: '[]',
    evidence_sha256: Buffer.alloc(32),
    sequence: 1,
    message_id: 'm',
  }
  await add('control_facts', {
    ...facts,
    system_id: hosts.get('web-1'),
    current_path: pathOf(1),
    collected_at: ago(1),
  })
  await add('control_facts', {
    ...facts,
    system_id: hosts.get('web-2'),
    current_path: pathOf(1),
    collected_at: ago(100),
  })
  await add('control_evidence', {
    system_id: hosts.get('web-1'),
    rule_id: 'V-268079',
    source: 'attestation',
    holds: true,
    statement: 'checked by hand',
    author: 'ada',
    collected_at: ago(1),
    expires_at: ago(-1000),
  })
  const waiver = await add('waiver', {
    name: 'W-1',
    rules: ['V-268080'],
    scope: { kind: 'fleet' },
    type: 'risk_accepted',
    justification: 'old printers',
    source: 'operator',
    author: 'ada',
    expires_at: ago(-240),
  })
  for (const [at, state, person] of [
    [1, 'submitted', 'ada'],
    [2, 'approved', 'grace'],
  ] as const)
    await add('waiver_transition', { waiver_id: waiver, step: at, state, person, type: null })
}
