import { createHash, randomBytes } from 'node:crypto'
import type pg from 'pg'

export type FleetSize = {
  readonly systems: number
  /** Commits of the one flake; each changes a tenth of the hosts and evaluates all. */
  readonly commits: number
  /** States that each host has reported. */
  readonly states: number
  /** Findings in the scan of each path that a host runs. */
  readonly findings: number
}

/** A fleet as it is after a while, made by statements in the database: rows are what a list has to get past. */
export async function fillLargeFleet(
  admin: pg.Pool,
  size: FleetSize,
): Promise<{ readonly token: string; readonly tenant: string }> {
  const token = `cf_${randomBytes(32).toString('base64url')}`
  const { rows } = await admin.query<{ id: string }>(
    "insert into tenant (name) values ('bench') returning id",
  )
  const tenant = rows[0]?.id ?? ''
  await admin.query(
    `insert into api_token (tenant_id, name, role, token_sha256, created_by, expires_at)
     values ($1, 'bench', 'viewer', $2, 'bench', now() + interval '1 day')`,
    [tenant, createHash('sha256').update(token).digest('hex')],
  )
  await admin.query(FUNCTIONS)
  // One session: the settings are its own, and a statement sees what the one before it made.
  const session = await admin.connect()
  try {
    const settings = { tenant, ...size }
    for (const [name, value] of Object.entries(settings))
      await session.query(`select set_config($1, $2, false)`, [`bench.${name}`, String(value)])
    for (const statement of [...PIPELINE, ...HOSTS, ...EVIDENCE]) await session.query(statement)
  } finally {
    session.release()
  }
  await admin.query('vacuum analyze')
  return { token, tenant }
}

/** `v(host, commit)`: how often the host has changed up to a commit; a tenth of the hosts change with each. */
const FUNCTIONS = `
create schema bench;
create function bench.n(name text) returns bigint language sql stable as $$ select current_setting('bench.' || name)::bigint $$;
create function bench.tenant() returns text language sql stable as $$ select current_setting('bench.tenant') $$;
create function bench.v(host bigint, commit bigint) returns bigint language sql immutable as $$ select (commit + host) / 10 $$;
create function bench.path(host bigint, version bigint) returns text language sql immutable as $$
  select '/nix/store/' || translate(md5(host || '/' || version), 'e', 'g') || '-nixos-system-host-25.11' $$;
create function bench.id(kind text, n bigint) returns text language sql immutable as $$ select kind || '_' || lpad(n::text, 26, '0') $$;
create function bench.host(n bigint) returns text language sql immutable as $$ select 'host-' || lpad(n::text, 5, '0') $$;
-- What a host runs: most are where the branch is, a seventh has waited for ten commits, a few run what no commit yields.
create function bench.running(host bigint, commits bigint) returns text language sql immutable as $$
  select case when host % 97 = 0 then bench.path(-host, 0)
              else bench.path(host, bench.v(host, commits - case when host % 7 = 0 then 10 else 0 end)) end $$;
`

const PIPELINE = [
  `insert into environment (id, tenant_id, name, risk_profile, compliance_level)
   select bench.id('env', n), bench.tenant(), (array['production', 'staging', 'lab'])[n], 'high', 'high' from generate_series(1, 3) n`,
  `insert into flake (id, tenant_id, name, repository_url, source)
   values (bench.id('flk', 1), bench.tenant(), 'fleet', 'https://git.example.com/ops/fleet', '{"kind": "local", "path": "/x"}')`,
  `insert into builder (id, tenant_id, name, systems) values (bench.id('bld', 1), bench.tenant(), 'one', '{x86_64-linux}')`,
  `insert into commit (id, tenant_id, flake_id, rev, position, committed_at, subject, state, evaluated_at)
   select bench.id('cmt', c), bench.tenant(), bench.id('flk', 1), substr(encode(sha256(c::text::bytea), 'hex'), 1, 40), c,
          now() - (bench.n('commits') - c) * interval '2 hours', 'change ' || c, 'evaluated', now()
   from generate_series(1, bench.n('commits')) c`,
  `insert into configuration (id, tenant_id, flake_id, name)
   select bench.id('cfg', h), bench.tenant(), bench.id('flk', 1), bench.host(h) from generate_series(1, bench.n('systems')) h`,
  `insert into derivation (id, tenant_id, drv_path, out_path, name, state, built_at, scan_state, scanned_at)
   select bench.id('drv', h * 1000 + v), bench.tenant(), bench.path(h, v) || '.drv', bench.path(h, v), 'nixos-system-host-25.11',
          case when h % 101 = 0 and v = bench.v(h, bench.n('commits')) then 'failed' else 'cached' end, now(), 'scanned', now()
   from generate_series(1, bench.n('systems')) h,
        generate_series(bench.v(h, 1), bench.v(h, bench.n('commits'))) v`,
  `insert into evaluation (id, tenant_id, commit_id, configuration_id, state, derivation_id, evaluator, duration_ms)
   select bench.id('evl', c * 100000 + h), bench.tenant(), bench.id('cmt', c), bench.id('cfg', h), 'ok',
          bench.id('drv', h * 1000 + bench.v(h, c)), '2.34', 1500
   from generate_series(1, bench.n('commits')) c, generate_series(1, bench.n('systems')) h`,
  `update configuration set latest_position = bench.n('commits'), desired_position = bench.n('commits'),
     latest_evaluation_id = e.id, desired_evaluation_id = e.id
   from evaluation e where e.configuration_id = configuration.id and e.commit_id = bench.id('cmt', bench.n('commits'))`,
  `insert into configuration_path (configuration_id, out_path, tenant_id, first_position, last_position)
   select bench.id('cfg', h), bench.path(h, bench.v(h, c)), bench.tenant(), min(c), max(c)
   from generate_series(1, bench.n('systems')) h, generate_series(1, bench.n('commits')) c group by h, bench.v(h, c)`,
  `insert into job (id, tenant_id, kind, subject, state, payload, finished_at)
   select bench.id('job', row_number() over (order by d.id)), bench.tenant(), 'build', d.id,
          case when d.state = 'failed' then 'failed' else 'succeeded' end, '{}', now()
   from derivation d`,
]

const HOSTS = [
  `insert into system (id, tenant_id, hostname, environment_id, flake_id, configuration_id)
   select bench.id('sys', h), bench.tenant(), bench.host(h), bench.id('env', 1 + h % 3), bench.id('flk', 1), bench.id('cfg', h)
   from generate_series(1, bench.n('systems')) h`,
  `insert into system_state (id, tenant_id, system_id, report_id, digest, change_reason, current_path, facts, assurance,
                             evidence_sha256, collected_at, received_at)
   select bench.id('sta', n * 100000 + h), bench.tenant(), bench.id('sys', h), h || '-' || n, sha256(n::text::bytea), 'config_change',
          case when n = bench.n('states') then bench.running(h, bench.n('commits'))
               else bench.path(h, greatest(0, bench.v(h, bench.n('commits')) - bench.n('states') + n)) end,
          '{}', 'rfc9421', sha256(n::text::bytea), at, at
   from generate_series(1, bench.n('systems')) h, generate_series(1, bench.n('states')) n,
        lateral (select now() - (bench.n('states') - n) * interval '1 day' as at) t`,
  `insert into system_current (system_id, tenant_id, state_id, digest, current_path, booted_path, profile_path, generation, assurance,
                               agent_version, nixos_version, kernel, failed_units, collected_at, state_received_at, heartbeat_at, seen_at)
   select bench.id('sys', h), bench.tenant(), bench.id('sta', bench.n('states') * 100000 + h), sha256('x'), p, p, p, 40, 'rfc9421',
          '0.3.0', '25.11', '6.12.58', '{}', now(), now(), now(), now() - h % 40 * interval '1 minute'
   from generate_series(1, bench.n('systems')) h, lateral (select bench.running(h, bench.n('commits')) as p) r
   where h % 89 <> 0`,
]

const EVIDENCE = [
  `insert into cve (tenant_id, id, cvss3)
   select bench.tenant(), 'CVE-2026-' || lpad(n::text, 5, '0'), (n % 100) / 10.0 from generate_series(1, 2000) n`,
  `insert into scan (id, tenant_id, derivation_id, out_path, job_id, outcome, scanner)
   select bench.id('scn', row_number() over (order by d.id)), bench.tenant(), d.id, d.out_path, j.id, 'scanned', 'vulnix 1.12.3'
   from derivation d join job j on j.subject = d.id
   where exists (select from system_current cur where cur.current_path = d.out_path)`,
  `insert into finding (tenant_id, scan_id, out_path, cve_id, package, version)
   select bench.tenant(), sc.id, sc.out_path, 'CVE-2026-' || lpad((1 + (n * 37 + hashtext(sc.id)::bigint + 2147483648) % 2000)::text, 5, '0'),
          (array['openssl', 'curl', 'glibc', 'systemd', 'sudo', 'zlib'])[1 + n % 6], '1.' || n
   from scan sc, generate_series(1, bench.n('findings')) n`,
  `insert into audit_event (id, tenant_id, type, body)
   select bench.id('evt', n), bench.tenant(), (array['agent.report', 'config.changed', 'job.result'])[1 + n % 3],
          convert_to(jsonb_build_object('n', n)::text, 'UTF8')
   from generate_series(1, bench.n('systems') * bench.n('states')) n`,
]
