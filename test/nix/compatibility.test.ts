import { beforeAll, describe, expect, it } from 'vitest'
import * as z from 'zod'
import { evaluateNix, nix } from './evaluate.ts'

/** Options of the original 0.2.x: path below services.crystal-forge, type, default as Nix prints it in JSON. `-`: no default. */
const ORIGINAL = `
enable bool false
log_level enum "info"
configPath path "/var/lib/crystal-forge/config.toml"
local-database bool true
env-file str "/var/lib/crystal-forge/.config/crystal-forge-attic.env"
database.host str "/run/postgresql"
database.port port 5432
database.user str "crystal_forge"
database.name str "crystal_forge"
database.passwordFile null,path null
flakes.watched list []
flakes.watched.*.name str -
flakes.watched.*.repo_url str -
flakes.watched.*.auto_poll bool -
flakes.watched.*.initial_commit_depth int 5
flakes.flake_polling_interval str "10m"
flakes.commit_evaluation_interval str "1m"
flakes.build_processing_interval str "1m"
auth.ssh_key_path null,path null
auth.ssh_known_hosts_path null,path null
auth.netrc_path null,path null
auth.ssh_disable_strict_host_checking bool false
dashboards.enable bool false
dashboards.datasource.name str "Crystal Forge PostgreSQL"
dashboards.datasource.host str services.crystal-forge.database.host
dashboards.datasource.port port services.crystal-forge.database.port
dashboards.datasource.database str services.crystal-forge.database.name
dashboards.datasource.user str "grafana"
dashboards.datasource.passwordFile null,path null
dashboards.datasource.sslMode enum "disable"
dashboards.grafana.provision bool true
dashboards.grafana.disableDeletion bool true
build.enable bool config.services.crystal-forge.server.enable
build.cores null,unsigned null
build.max_concurrent_derivations positive 1
build.max_jobs positive 1
build.cores_per_job unsigned 0
build.use_substitutes bool true
build.offline bool false
build.sandbox bool true
build.use_systemd_scope bool true
build.poll_interval str "5m"
build.max_silent_time str "1h"
build.timeout str "2h"
build.systemd_memory_max null,str "32G"
build.systemd_cpu_quota null,int 800
build.systemd_timeout_stop_sec null,int 600
build.systemd_properties list ["MemorySwapMax=2G","TasksMax=3000"]
vulnix.timeout str "5m"
vulnix.poll_interval str "1m"
vulnix.max_retries int 5
vulnix.enable_whitelist bool false
vulnix.extra_args list []
vulnix.whitelist_path null,path null
cache.cache_type enum "Nix"
cache.push_to null,str null
cache.push_after_build bool false
cache.signing_key null,path null
cache.compression null,str null
cache.push_filter null,list null
cache.parallel_uploads int 4
cache.s3_region null,str null
cache.s3_profile null,str null
cache.attic_token null,str null
cache.attic_cache_name null,str null
cache.attic_ignore_upstream_cache_filter bool true
cache.attic_jobs int 5
cache.max_retries int 3
cache.retry_delay_seconds int 5
cache.poll_interval unsigned 5
cache.force_repush bool false
deployment.max_deployment_age_minutes int 30
deployment.deployment_timeout_minutes int 60
deployment.dry_run_first bool true
deployment.fallback_to_local_build bool false
deployment.require_sigs bool true
deployment.cache_url null,str null
deployment.cache_public_key null,str null
deployment.deployment_poll_interval str "15m"
systems list []
systems.*.hostname str -
systems.*.public_key str -
systems.*.environment str -
systems.*.flake_name null,str null
systems.*.desired_target null,str null
systems.*.deployment_policy enum "manual"
environments list []
environments.*.name str -
environments.*.description str -
environments.*.is_active bool -
environments.*.risk_profile str -
environments.*.compliance_level str -
server.enable bool false
server.host str "127.0.0.1"
server.port port 3000
server.eval_workers int 4
server.eval_max_memory_mb int 4096
server.eval_check_cache bool true
client.enable bool false
client.server_host str "127.0.0.1"
client.server_port port 3000
client.private_key path -
`

const TYPES: Readonly<Record<string, RegExp>> = {
  bool: /boolean/,
  str: /string/,
  int: /signed integer/,
  port: /16 bit|between 0 and 65535/,
  path: /path/,
  enum: /one of/,
  list: /list of/,
  null: /null or/,
  positive: /positive integer/,
  unsigned: /unsigned integer/,
}

describe.skipIf(nix.version === null)(`the options of the original ${nix.note}`, () => {
  const documented = z.object({
    service: z.array(
      z.object({
        option: z.string(),
        type: z.string(),
        default: z.string().nullable(),
        description: z.string(),
      }),
    ),
  })
  let options: Map<string, z.infer<typeof documented>['service'][number]>
  beforeAll(async () => {
    const { service } = documented.parse(await evaluateNix('docs.nix', { generation: '24.11' }))
    options = new Map(service.map((one) => [one.option.replace('services.crystal-forge.', ''), one]))
  })

  const rows = ORIGINAL.trim()
    .split('\n')
    .map((line) => {
      const [, name = '', kinds = '', value = ''] = /^(\S+) (\S+) (.*)$/.exec(line) ?? []
      return { name, kinds: kinds.split(','), value: value === '-' ? null : value }
    })

  it.each(rows)('$name has its type and its default', ({ name, kinds, value }) => {
    const one = options.get(name)
    expect(one?.option).toBe(`services.crystal-forge.${name}`)
    for (const kind of kinds) expect(one?.type).toMatch(TYPES[kind] ?? /never/)
    expect(one?.default).toBe(value)
  })

  it('has no default password', () => {
    expect(options.get('database.password')?.default).toBe('null')
  })

  it('describes every option in a sentence', () => {
    for (const { option, description } of options.values())
      expect(`${option}: ${description.trim()}`).toMatch(/[.)]$/)
  })
})
