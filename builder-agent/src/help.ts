export const HELP = `builder-agent - takes jobs of a Crystal Forge control plane on a machine with Nix

  builder-agent run            take jobs until SIGTERM; jobs in hand are ended first
  builder-agent --check-config read the configuration, name every error, change nothing
  builder-agent --version
  builder-agent --help

The configuration is the TOML file that CRYSTAL_FORGE_CONFIG names (default
/var/lib/crystal-forge-builder/config.toml), with CRYSTAL_FORGE__SECTION__KEY over it:

  [builder]
  server_url = "https://forge.example.com"    # the control plane
  private_key = "/run/secrets/builder.key"    # base64 of a 32-byte seed; cf keygen makes one
  job_public_key = "..."                      # the control plane's key for job documents
  state_directory = "/var/lib/crystal-forge-builder"
  forges = ["github.com", "gitlab.com"]       # where flakes may come from
  local_flakes = []                           # repositories of this machine that may be read

  [build]                                     # limits of one build
  max_concurrent_derivations = 1
  systemd_memory_max = "4G"
  systemd_cpu_quota = 300

Builds run in systemd scopes where systemd runs and the builder is root; where not, the builder says so at
its start and in every result. Without vulnix on PATH scans report "no scanner", never "clean".

Exit codes: 0 ended as asked, 1 failed, 2 the command line or the configuration is wrong.
`
