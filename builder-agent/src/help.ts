export const HELP = `builder-agent - takes jobs of a Crystal Forge control plane on a machine with Nix

  builder-agent run             take jobs until SIGTERM; a job in hand is stopped, reported and done elsewhere
  builder-agent --check-config  read the configuration and the files it names, tell every error, change nothing
  builder-agent --version
  builder-agent --help

The configuration is the TOML (or JSON) file that CRYSTAL_FORGE_CONFIG names, by default
/var/lib/crystal-forge-builder/config.toml, with CRYSTAL_FORGE__SECTION__KEY over it. Needed are:

  [builder]
  server_url = "https://forge.example.com"    # the control plane
  private_key = "/run/secrets/builder.key"    # file of mode 0600; cf keygen makes one
  job_public_key = "..."                      # the control plane's key for job documents

Often set:

  [builder]
  state_directory = "/var/lib/crystal-forge-builder"
  forges = ["github.com", "gitlab.com"]       # where flakes may come from
  local_flakes = []                           # repositories of this machine that may be read
  min_free_bytes = "2G"                       # with less free in the store no build is begun

  [build]                                     # limits of one build
  max_concurrent_derivations = 1
  timeout = "2h"                              # durations: seconds, or a text such as "1h 30m"
  systemd_memory_max = "4G"
  systemd_cpu_quota = 300                     # percent of one processor

  [cache]                                     # a second place for closures; the control plane's gets all
  cache_type = "Http"                         # Nix, Http or Attic
  push_to = "https://cache.example.com"

builder-agent/README.md has the whole table. Builds run in systemd scopes where systemd runs and the builder is root;
where not, the builder says so at its start and in every result. Without vulnix on PATH scans report "no scanner",
never "clean".

Exit codes: 0 ended as asked, 1 failed, 2 the command line, the configuration or a file that it names is wrong.
`
