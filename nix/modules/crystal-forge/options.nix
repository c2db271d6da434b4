# Options of services.crystal-forge. Behaviour lies beside: server.nix, builder.nix, agent.nix, database.nix, dashboards.nix.
{ lib, config, pkgs, ... }:
let
  inherit (lib) mkOption types;
  cfg = config.services.crystal-forge;

  option = type: default: description: mkOption { inherit type default description; };
  bool = option types.bool;
  str = option types.str;
  int = option types.int;
  listOf = type: option (types.listOf type) [ ];
  maybe = type: option (types.nullOr type) null;
  enable = what: bool false "Whether to run ${what}.";
  required = type: description: mkOption { inherit type description; };
  package = name: what: mkOption {
    type = types.package;
    # Not by the name in pkgs, where another program may have it.
    default = (import ../../packages pkgs).${name};
    defaultText = lib.literalExpression "the package ${name} of this flake";
    description = "Package of ${what}.";
  };
  alias = of: default: mkOption {
    inherit default;
    type = types.str;
    defaultText = lib.literalExpression of;
    description = "As `${of}`, for the datasource.";
  };
  noEffect = instead: " Accepted for old configurations and without effect: ${instead}";

  flake = types.submodule {
    options = {
      name = required types.str "Name of the flake.";
      repo_url = required types.str "Its repository: `https://`, `git+https://`, `git+ssh://`, `github:owner/repo` or `gitlab:owner/repo`, with `?ref=branch` for another branch than main.";
      auto_poll = required types.bool "Whether the repository is asked for new commits, beside webhooks.";
      initial_commit_depth = int 5 "Commits that are evaluated when the flake is new.";
    };
  };
  system = types.submodule {
    options = {
      hostname = required types.str "Host name of the system.";
      public_key = required types.str "Public key of its agent: base64 of 32 bytes, as `cf keygen` writes it.";
      environment = required types.str "Environment that the system belongs to.";
      flake_name = maybe types.str "Flake that the system follows.";
      desired_target = maybe types.str "Store path that a pinned system is to run.";
      deployment_policy = option (types.enum [ "manual" "auto_latest" "pinned" ]) "manual" "What decides the target of the system.";
    };
  };
  environment = types.submodule {
    options = {
      name = required types.str "Name of the environment.";
      description = required types.str "What it is for.";
      is_active = required types.bool "Whether it is in use.";
      risk_profile = required types.str "Such as LOW, MEDIUM, HIGH or CRITICAL.";
      compliance_level = required types.str "Such as NONE, STIG or FEDRAMP_HIGH.";
    };
  };
in
{
  options.services.crystal-forge = {
    enable = bool false "Whether Crystal Forge runs on this machine. Which of its programs do is said by `server.enable`, `build.enable` and `client.enable`.";
    log_level = option (types.enum [ "off" "error" "warn" "info" "debug" "trace" ]) "info" "Least severe messages that are logged.";
    configPath = mkOption {
      type = types.path;
      readOnly = true;
      default = "/var/lib/crystal-forge/config.toml";
      description = "Where the configuration of the server is found: a link into the store, without secrets. Builder and agent have their own.";
    };
    local-database = bool true "Whether the database runs on this machine and is set up by this module.";
    env-file = str "/var/lib/crystal-forge/.config/crystal-forge-attic.env" "Environment of the builder, read when it exists: ATTIC_SERVER_URL, AWS_PROFILE and the like.";
    packages = {
      server = package "crystal-forge-server" "the server";
      builder = package "crystal-forge-builder" "the builder";
      agent = package "crystal-forge-agent" "the agent";
      cf = package "cf" "the command line";
      dashboards = package "crystal-forge-dashboards" "the dashboards";
    };

    database = {
      host = str "/run/postgresql" "Directory of the socket, or host name of the database.";
      port = option types.port 5432 "Port of the database.";
      user = str "crystal_forge" "Role that owns the schema.";
      name = str "crystal_forge" "Name of the database.";
      password = maybe types.str "Password of the role. Ends in the world-readable store: give `passwordFile`.";
      passwordFile = maybe types.path "File with the password of the role. Read by systemd; the service gets a copy that only it can read.";
      caFile = maybe types.path "Certificates that the database's is checked against; needed when it is on another machine.";
    };

    flakes = {
      watched = listOf flake "Flakes whose configurations are evaluated and built.";
      flake_polling_interval = str "10m" "How often a flake with `auto_poll` is asked for new commits.";
      commit_evaluation_interval = str "1m" ("How often new commits were looked for." + noEffect "a commit is evaluated when it is known.");
      build_processing_interval = str "1m" ("How often builds were looked for." + noEffect "builders are woken by a queue.");
    };

    auth = {
      ssh_key_path = maybe types.path "Private key for flakes over ssh. When null, one is made at /var/lib/crystal-forge/.ssh/id_ed25519.";
      ssh_known_hosts_path = maybe types.path "Known hosts for flakes over ssh.";
      netrc_path = maybe types.path "Passwords for flakes over https.";
      ssh_disable_strict_host_checking = bool false ("Whether unknown ssh hosts were trusted." + noEffect "host keys are always checked; name them in `ssh_known_hosts_path`.");
    };

    dashboards = {
      enable = bool false "Whether Grafana shows the dashboards of Crystal Forge.";
      datasource = {
        name = str "Crystal Forge PostgreSQL" "Name of the datasource in Grafana.";
        host = alias "services.crystal-forge.database.host" cfg.database.host;
        port = mkOption {
          type = types.port;
          default = cfg.database.port;
          defaultText = lib.literalExpression "services.crystal-forge.database.port";
          description = "As `services.crystal-forge.database.port`, for the datasource.";
        };
        database = alias "services.crystal-forge.database.name" cfg.database.name;
        user = str "grafana" "Role of Grafana, which reads what dashboards show and nothing else. Made and bound to `server.tenant` when the database is on this machine.";
        passwordFile = maybe types.path "File with the password of that role.";
        sslMode = option (types.enum [ "disable" "require" "verify-ca" "verify-full" ]) "disable" "How Grafana checks the database.";
      };
      grafana = {
        provision = bool true "Whether the datasource and the dashboards are provisioned.";
        disableDeletion = bool true "Whether provisioned dashboards cannot be deleted in Grafana.";
      };
    };

    build = {
      enable = mkOption {
        type = types.bool;
        default = cfg.server.enable;
        defaultText = lib.literalExpression "config.services.crystal-forge.server.enable";
        description = "Whether a builder runs on this machine.";
      };
      cores = maybe types.ints.unsigned "The same as `cores_per_job`, under the name that the original's README used.";
      max_concurrent_derivations = option types.ints.positive 1 "Build jobs at a time.";
      max_jobs = option types.ints.positive 1 "Derivations that Nix builds at a time, within one job.";
      cores_per_job = option types.ints.unsigned 0 "Processors for one derivation; 0 for all.";
      use_substitutes = bool true "Whether caches are asked before something is built.";
      offline = bool false "Whether nothing is fetched from caches.";
      sandbox = bool true "Whether builds run in Nix' sandbox.";
      use_systemd_scope = bool true "Whether each build runs in a systemd scope with the limits below.";
      poll_interval = str "5m" ("How often builds were looked for." + noEffect "builders are woken by a queue.");
      max_silent_time = str "1h" "How long a build may print nothing.";
      timeout = str "2h" "How long a build may take.";
      systemd_memory_max = maybe types.str "Memory of one build; null for no limit." // { default = "32G"; };
      systemd_cpu_quota = maybe types.int "Processor time of one build in percent of one processor; null for no limit." // { default = 800; };
      systemd_timeout_stop_sec = maybe types.int "Seconds that a build has to end when it is stopped." // { default = 600; };
      systemd_properties = option (types.listOf types.str) [ "MemorySwapMax=2G" "TasksMax=3000" ] "More limits of the scope: properties that begin with Memory, CPU, Tasks, IO, Kill, OOM, Device or IPAccounting. `Environment=KEY=VALUE` becomes environment of the unit.";
      server_url = mkOption {
        type = types.nullOr types.str;
        default = if cfg.server.enable then "http://${if lib.elem cfg.server.host [ "0.0.0.0" "::" ] then "127.0.0.1" else cfg.server.host}:${toString cfg.server.port}" else null;
        defaultText = lib.literalExpression "the server of this machine, if it runs here";
        description = "The control plane that gives jobs.";
      };
      private_key = maybe types.path "Key of this builder, as `cf keygen` makes it. When null, one is made at the first start; its public half lies beside it at /var/lib/crystal-forge-builder/builder.pub.";
      public_key = maybe types.str "Public half of `private_key`, under which the builder is registered at the server of this machine; not needed when the key is made here.";
      job_public_key = maybe types.str "Key that signs jobs; a builder does nothing without it. When null, that of the server of this machine.";
      name = mkOption {
        type = types.str;
        default = config.networking.hostName;
        defaultText = lib.literalExpression "config.networking.hostName";
        description = "Name under which the builder is registered at the server of this machine.";
      };
      forges = option (types.listOf types.str) [ "github.com" "gitlab.com" "codeberg.org" "bitbucket.org" ] "Hosts that flakes may come from.";
      local_flakes = listOf types.str "Repositories of this machine that may be read.";
      allowed_uris = listOf types.str "Prefixes of addresses that the inputs of a flake may come from, beside the forges.";
      systems = option (types.listOf types.str) [ pkgs.stdenv.hostPlatform.system ] "Platforms that this machine builds for." // { defaultText = lib.literalExpression "[ pkgs.stdenv.hostPlatform.system ]"; };
      concurrent_evaluations = option types.ints.positive 2 "Configurations that are evaluated at a time.";
      evaluation_timeout = str "10m" "How long one evaluation may take.";
      min_free_bytes = str "2G" "With less free in the store no build is begun.";
      substituters = listOf types.str "Caches that are asked before something is built.";
      trusted_public_keys = listOf types.str "Keys of those caches.";
    };

    vulnix = {
      timeout = str "5m" "How long a scan may take.";
      poll_interval = str "1m" ("How often scans were looked for." + noEffect "builders are woken by a queue.");
      max_retries = int 5 ("How often a scan was tried again." + noEffect "retries follow the class of the failure.");
      enable_whitelist = bool false "Whether `whitelist_path` is used.";
      whitelist_path = maybe types.path "Findings that vulnix leaves out.";
      extra_args = listOf types.str "More arguments of vulnix.";
      mirror = maybe types.str "Where vulnix gets its feeds; ends in a slash.";
    };

    cache = {
      cache_type = option (types.enum [ "S3" "Attic" "Http" "Nix" ]) "Nix" "Kind of the second place for closures.";
      push_to = maybe types.str "A second place for closures, beside the cache of the control plane.";
      push_after_build = bool false "Whether closures are pushed there.";
      signing_key = maybe types.path "Key that signs what is pushed to a cache of kind Nix or Http.";
      compression = maybe types.str "Compression of what is pushed, such as zstd or xz.";
      push_filter = maybe (types.listOf types.str) "Only derivations whose name contains one of these are pushed.";
      parallel_uploads = int 4 "Uploads at a time.";
      s3_region = maybe types.str ("Region of the bucket." + noEffect "the control plane names its bucket's region.");
      s3_profile = maybe types.str ("Profile of the credentials." + noEffect "set AWS_PROFILE in `env-file`, or use IAM Roles Anywhere.");
      attic_token = maybe types.str "Token of Attic. Ends in the world-readable store: give `attic_token_file`.";
      attic_token_file = maybe types.path "File with the token of Attic.";
      attic_cache_name = maybe types.str "Name of the cache at Attic.";
      attic_ignore_upstream_cache_filter = bool true "Whether paths that an upstream cache has are pushed too.";
      attic_jobs = int 5 "Uploads of Attic at a time.";
      max_retries = int 3 ("How often a push was tried again." + noEffect "retries follow the class of the failure.");
      retry_delay_seconds = int 5 ("Pause before that." + noEffect "retries follow the class of the failure.");
      poll_interval = option types.ints.unsigned 5 ("How often pushes were looked for." + noEffect "a closure is pushed as soon as it is built.");
      force_repush = bool false ("Whether what a cache has was sent again." + noEffect "remove it there first.");
    };

    deployment = {
      max_deployment_age_minutes = int 30 "Oldest order that the agent still carries out.";
      deployment_timeout_minutes = int 60 "How long a deployment may take.";
      dry_run_first = bool true "Whether a deployment is tried without effect first.";
      fallback_to_local_build = bool false "Whether the host builds what no cache has.";
      require_sigs = bool true "Whether closures must carry a trusted signature.";
      cache_url = maybe types.str "Cache that the agent copies from.";
      cache_public_key = maybe types.str "Key of that cache.";
      deployment_poll_interval = str "15m" "How often the agent asks for orders.";
    };

    systems = listOf system "Systems that are registered.";
    environments = listOf environment "Environments that systems belong to.";
    apply = {
      enable = mkOption {
        type = types.bool;
        default = cfg.server.enable;
        defaultText = lib.literalExpression "config.services.crystal-forge.server.enable";
        description = "Whether flakes, systems and environments of this configuration are brought to the server of this machine after each start (`cf apply`).";
      };
      prune = bool false "Whether what is not declared any more is deactivated.";
    };

    server = {
      enable = enable "the server";
      host = str "127.0.0.1" "Address that the server listens on. It speaks plain HTTP: on another address than loopback put a TLS proxy before it.";
      port = option types.port 3000 "Port that the server listens on.";
      authority = maybe types.str "Public host that agents and builders sign for, when it is not address and port.";
      openFirewall = bool false "Whether the firewall lets others reach the port.";
      tenant = str "default" "Name of the tenant of this installation.";
      next_report_in_s = option types.ints.positive 600 "Seconds between two reports of an agent.";
      lease_s = option types.ints.positive 60 "Seconds that a builder holds a job without a sign of life.";
      awsEndpoint = maybe types.str "Queue and object store; when null those that are embedded in the server.";
      eval_workers = int 4 ("Evaluations at a time." + noEffect "builders evaluate: `build.concurrent_evaluations`.");
      eval_max_memory_mb = int 4096 ("Memory of an evaluation." + noEffect "builders evaluate, within `build.systemd_memory_max`.");
      eval_check_cache = bool true ("Whether caches were asked first." + noEffect "a derivation that is in the cache is never built again.");
    };

    client = {
      enable = enable "the agent";
      server_host = str "127.0.0.1" "Host of the control plane. Port 443 means https, another port http.";
      server_port = option types.port 3000 "Port of the control plane.";
      private_key = required types.path "Key of this host, as `cf keygen` makes it. Read by systemd; the agent gets a copy and never changes the file. `crystal-forge-agent rotate-key`, as root while the agent runs, puts a new key into /var/lib/crystal-forge-agent/keys, which counts for as long as this file holds the key that it replaced.";
      server_url = maybe types.str "URL of the control plane, in place of `server_host` and `server_port`.";
      authority = maybe types.str "Public host of the control plane, when it is not the one of the URL.";
      allow_plain_http = mkOption {
        type = types.bool;
        default = cfg.client.server_url == null && cfg.client.server_port != 443;
        defaultText = lib.literalExpression "server_url == null && server_port != 443";
        description = "Whether another machine may be reached over http, where anyone on the way can read what this host runs. `server_host` with another port than 443 has always meant http.";
      };
      ca_file = maybe types.path "Certificates that the control plane's is checked against, in place of those of the system.";
      heartbeat_interval = str "10m" "How often the agent reports until the control plane names another interval.";
      control_facts = bool true "Whether the facts that STIG controls are judged by are collected and sent. Without them no control of this host is proven; what it runs is reported all the same.";
      control_facts_interval = str "1d" "How often they are collected, besides a minute after each start and each switch: between 1h and 1d. They count for two days, so that one message may be lost.";
      spool_max_bytes = option types.ints.positive 16777216 "Bytes of reports that are kept while the control plane is away.";
      spool_max_age = str "30d" "Age after which they are dropped.";
    };
  };
}
