# What services.crystal-forge makes of a configuration.
args@{ harness ? null, generation ? "24.11" }:
let
  world = import ./evaluate.nix args;
  inherit (world) lib;
  module = ../../nix/modules/crystal-forge;
  # Names in place of packages: what is built is not the matter here.
  programs = {
    services.crystal-forge.packages = lib.genAttrs [ "server" "builder" "agent" "cf" "dashboards" ] (name: (import ./lib/pkgs.nix { lib = import ./lib; }).${if name == "cf" then "cf" else "crystal-forge-${name}"});
  };
  evaluate = config: (world.evaluate [ module programs { _file = "site.nix"; inherit config; } ]).config;
  own = one: lib.hasPrefix "crystal-forge" one;
  units = config: lib.mapAttrs
    (_: unit: {
      inherit (unit) wantedBy restartIfChanged serviceConfig;
      requires = unit.requires or [ ];
      after = unit.after or [ ];
    })
    (lib.filterAttrs (name: _: own name) (evaluate config).systemd.services);
  failed = config: map (one: one.message) (lib.filter (one: !one.assertion && lib.hasInfix "crystal-forge" one.message) (evaluate config).assertions);
  warnings = config: lib.filter (lib.hasInfix "crystal-forge") (evaluate config).warnings;
  cf = config: { services.crystal-forge = { enable = true; } // config; };
  agent = { enable = true; private_key = "/var/lib/crystal-forge/host.key"; };
  quick = import ./quick-start.nix;
  everyDead = {
    flakes = { commit_evaluation_interval = "2m"; build_processing_interval = "2m"; };
    auth.ssh_disable_strict_host_checking = true;
    build.poll_interval = "1m";
    vulnix = { poll_interval = "2m"; max_retries = 1; };
    cache = { s3_region = "us-east-1"; s3_profile = "x"; max_retries = 1; retry_delay_seconds = 1; poll_interval = 1; force_repush = true; };
    server = { enable = true; eval_workers = 1; eval_max_memory_mb = 1; eval_check_cache = false; };
  };
  settingsOf = config: lib.mapAttrs (_: file: file.passthru.settings)
    (lib.filterAttrs (name: _: lib.hasPrefix "crystal-forge-" name && lib.hasSuffix "-config" name) (evaluate config).system.build);
in
{
  settings = {
    quickStart = settingsOf quick;
    everything = settingsOf (cf {
      server = { enable = true; authority = "cf.example.mil"; awsEndpoint = "http://127.0.0.1:4566"; };
      database = { host = "db.example.mil"; caFile = "/etc/ssl/db.pem"; passwordFile = "/run/secrets/db"; };
      local-database = false;
      build = { systemd_memory_max = null; systemd_cpu_quota = null; systemd_properties = [ "TasksMax=100" "Environment=A=b" ]; local_flakes = [ "/srv/flake" ]; };
      vulnix = { enable_whitelist = true; whitelist_path = "/etc/vulnix.toml"; mirror = "https://feeds.example.mil/"; };
      auth = { netrc_path = "/run/secrets/netrc"; ssh_known_hosts_path = "/etc/ssh/known"; ssh_key_path = "/run/secrets/ssh"; };
      cache = { cache_type = "Http"; push_to = "https://cache.example.mil"; push_after_build = true; compression = "zstd"; push_filter = [ "nixos-system" ]; };
      client = agent // { server_url = "https://cf.example.mil"; authority = "cf.example.mil"; ca_file = "/etc/ssl/cf.pem"; control_facts = false; control_facts_interval = "6h"; };
      deployment = { cache_url = "https://cache.example.mil"; cache_public_key = "k:AA=="; };
    });
  };
  fleet = (evaluate (lib.recursiveUpdate quick { services.crystal-forge.systems = [{ hostname = "server1"; public_key = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="; environment = "production"; flake_name = "infrastructure"; deployment_policy = "manual"; }]; })).system.build.crystal-forge-fleet.text or null;
  quickStart = {
    units = units quick;
    failed = failed quick;
    warnings = warnings quick;
    slice = (evaluate quick).systemd.slices ? crystal-forge-builds;
    users = lib.attrNames (lib.filterAttrs (name: _: own name) (evaluate quick).users.users);
    authentication = (evaluate quick).services.postgresql.authentication;
    configPath = (evaluate quick).services.crystal-forge.configPath;
    allowedUsers = (evaluate quick).nix.settings.allowed-users;
  };
  agentOnly = {
    units = lib.attrNames (units (cf { client = agent; }));
    users = lib.attrNames (lib.filterAttrs (name: _: own name) (evaluate (cf { client = agent; })).users.users);
    tmpfiles = lib.filter (lib.hasInfix "crystal-forge") (evaluate (cf { client = agent; })).systemd.tmpfiles.rules;
    allowedUsers = (evaluate (cf { client = agent; })).nix.settings.allowed-users;
    polkit = (evaluate (cf { client = agent; })).security.polkit.extraConfig;
  };
  controls = {
    unit = (evaluate (cf { client = agent; })).systemd.services."crystal-forge-agent-controls@".serviceConfig;
    socket = (evaluate (cf { client = agent; })).systemd.sockets.crystal-forge-agent-controls.socketConfig;
    off = lib.attrNames (units (cf { client = agent // { control_facts = false; }; }));
  };
  disabled = lib.attrNames (units { });
  nothing = failed (cf { });
  clientWithoutKey = failed (cf { client.enable = true; });
  builderAlone = failed (cf { build.enable = true; });
  builderElsewhere = failed (cf { build = { enable = true; server_url = "https://cf.example.mil"; job_public_key = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="; }; });
  unknownFlake = failed (cf { server.enable = true; systems = [{ hostname = "a"; public_key = "x"; environment = "dev"; flake_name = "absent"; }]; });
  declaredTwice = failed (cf { server.enable = true; systems = map (hostname: { inherit hostname; public_key = "x"; environment = "dev"; }) [ "a" "a" ]; });
  twoPasswords = failed (cf { server.enable = true; database = { password = "x"; passwordFile = "/run/secrets/x"; }; });
  dead = warnings (cf everyDead);
  secretsInStore = warnings (cf { server.enable = true; database.password = "x"; cache.attic_token = "y"; });
  defaultsAreSilent = warnings (cf { server.enable = true; client = agent; });
  wrongPolicy = !(builtins.tryEval (builtins.deepSeq (evaluate (cf { server.enable = true; systems = [{ hostname = "a"; public_key = "x"; environment = "dev"; deployment_policy = "auto"; }]; })).services.crystal-forge.systems true)).success;
  firewall = (evaluate (cf { server = { enable = true; openFirewall = true; port = 3445; }; })).networking.firewall.allowedTCPPorts;
  dashboards = {
    failed = failed (cf { server.enable = true; dashboards.enable = true; });
    units = lib.attrNames (units (cf { server.enable = true; dashboards.enable = true; }));
    datasource = lib.head (evaluate (cf { server.enable = true; dashboards.enable = true; })).services.grafana.provision.datasources.settings.datasources;
  };
  together = lib.attrNames (lib.filterAttrs (name: _: own name) (world.evaluate [ module ../../nix/stig programs { config = quick; } ]).config.systemd.services);
}
