# services.crystal-forge: the control plane, a builder and the agent of this host, as far as each is enabled.
{ lib, config, options, ... }:
let
  cfg = config.services.crystal-forge;
  given = options.services.crystal-forge;

  # A default is at 1500: whoever set the option believes that it does something.
  isSet = option: option.highestPrio < 1500;
  dead = [
    [ "flakes" "commit_evaluation_interval" "a commit is evaluated when it is known" ]
    [ "flakes" "build_processing_interval" "builders are woken by a queue" ]
    [ "auth" "ssh_disable_strict_host_checking" "host keys are always checked; name them in auth.ssh_known_hosts_path" ]
    [ "build" "poll_interval" "builders are woken by a queue" ]
    [ "vulnix" "poll_interval" "builders are woken by a queue" ]
    [ "vulnix" "max_retries" "retries follow the class of the failure" ]
    [ "cache" "s3_region" "the control plane names its bucket's region" ]
    [ "cache" "s3_profile" "set AWS_PROFILE in env-file, or use IAM Roles Anywhere" ]
    [ "cache" "max_retries" "retries follow the class of the failure" ]
    [ "cache" "retry_delay_seconds" "retries follow the class of the failure" ]
    [ "cache" "poll_interval" "a closure is pushed as soon as it is built" ]
    [ "cache" "force_repush" "remove the path from the cache first" ]
    [ "server" "eval_workers" "builders evaluate: set build.concurrent_evaluations" ]
    [ "server" "eval_max_memory_mb" "builders evaluate, within build.systemd_memory_max" ]
    [ "server" "eval_check_cache" "a derivation that is in the cache is never built again" ]
  ];
  deadWarnings = lib.concatMap
    (entry:
      let section = lib.head entry; name = lib.elemAt entry 1; instead = lib.elemAt entry 2; in
      lib.optional (isSet given.${section}.${name})
        "services.crystal-forge.${section}.${name} has no effect any more: ${instead}. Remove it.")
    dead;
  inStore = option: file: lib.optional (option != null)
    "services.crystal-forge.${file.was} ends in the world-readable store: give the name of a file in services.crystal-forge.${file.is}.";

  plainHttp = cfg.client.enable && cfg.client.server_url == null && cfg.client.server_port != 443
    && !lib.elem cfg.client.server_host [ "127.0.0.1" "::1" "localhost" ] && !isSet given.client.allow_plain_http;

  names = what: lib.concatStringsSep ", " what;
  watched = map (flake: flake.name) cfg.flakes.watched;
  strangers = lib.filter (system: system.flake_name != null && !lib.elem system.flake_name watched) cfg.systems;
  twice = list: lib.unique (lib.filter (one: lib.count (other: other == one) list > 1) list);
  hosts = map (system: system.hostname) cfg.systems;
in
{
  imports = [ ./options.nix ./server.nix ./database.nix ./builder.nix ./agent.nix ./agent-controls.nix ./dashboards.nix ];

  config = lib.mkIf cfg.enable {
    assertions = [
      {
        assertion = cfg.server.enable || cfg.build.enable || cfg.client.enable;
        message = "services.crystal-forge.enable does nothing alone: enable services.crystal-forge.server, .build or .client.";
      }
      {
        assertion = cfg.client.enable -> given.client.private_key.isDefined;
        message = "services.crystal-forge.client.private_key is missing: name the key of this host, which `cf keygen` makes.";
      }
      {
        assertion = cfg.build.enable -> cfg.build.server_url != null;
        message = "services.crystal-forge.build.server_url is missing: name the control plane that gives jobs.";
      }
      {
        assertion = cfg.build.enable -> cfg.server.enable || cfg.build.job_public_key != null;
        message = "services.crystal-forge.build.job_public_key is missing: name the key that signs jobs, which the server prints at its start.";
      }
      {
        assertion = cfg.database.password == null || cfg.database.passwordFile == null;
        message = "services.crystal-forge.database.password and .passwordFile exclude each other: keep passwordFile.";
      }
      {
        assertion = strangers == [ ];
        message = "services.crystal-forge.systems: ${names (map (system: "${system.hostname} follows the flake ${toString system.flake_name}") strangers)}, which services.crystal-forge.flakes.watched does not name.";
      }
      {
        assertion = twice hosts == [ ] && twice watched == [ ];
        message = "services.crystal-forge: declared twice: ${names (twice hosts ++ twice watched)}.";
      }
    ];
    warnings = deadWarnings
      ++ lib.optional plainHttp "services.crystal-forge.client: what this host runs goes to ${cfg.client.server_host} over plain HTTP, readable on the way. Set client.server_url to an https address, or client.allow_plain_http = true to accept it."
      ++ inStore cfg.database.password { was = "database.password"; is = "database.passwordFile"; }
      ++ inStore cfg.cache.attic_token { was = "cache.attic_token"; is = "cache.attic_token_file"; };
  };
}
