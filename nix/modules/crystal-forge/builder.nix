{ lib, config, pkgs, ... }:
let
  cfg = config.services.crystal-forge;
  inherit (cfg) build vulnix cache auth;
  checkedConfig = import ./checked-config.nix { inherit lib pkgs; };
  stateDirectory = "/var/lib/crystal-forge-builder";
  credentials = "/run/credentials/crystal-forge-builder.service";
  loaded = name: file: if file == null then null else "${credentials}/${name}";

  environmentOf = lib.filter (lib.hasPrefix "Environment=") build.systemd_properties;
  limits = lib.subtractLists environmentOf build.systemd_properties;
  environment = lib.listToAttrs (map
    (text: let parts = builtins.match "Environment=([^=]+)=(.*)" text; in { name = lib.elemAt parts 0; value = lib.elemAt parts 1; })
    environmentOf);

  ownKey = "${stateDirectory}/builder.key";
  ownSshKey = "/var/lib/crystal-forge/.ssh/id_ed25519";
  localServer = cfg.server.enable && build.job_public_key == null;
  # Stands in the file until the key of the server of this machine is known, which the start reads. Its private half is public,
  # so nothing it signs is believed: RFC 8032, 7.1, test 1.
  placeholderKey = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

  configFile = checkedConfig {
    name = "crystal-forge-builder";
    settings = {
      builder = {
        inherit (build) server_url forges local_flakes allowed_uris systems concurrent_evaluations evaluation_timeout min_free_bytes;
        inherit (cache) parallel_uploads;
        private_key = "${credentials}/builder.key";
        job_public_key = if build.job_public_key != null then build.job_public_key else placeholderKey;
        state_directory = stateDirectory;
      };
      build = {
        inherit (build) max_concurrent_derivations max_jobs use_substitutes offline sandbox use_systemd_scope max_silent_time timeout
          systemd_timeout_stop_sec substituters trusted_public_keys;
        cores_per_job = if build.cores != null then build.cores else build.cores_per_job;
        systemd_memory_max = if build.systemd_memory_max == null then "infinity" else build.systemd_memory_max;
        systemd_cpu_quota = if build.systemd_cpu_quota == null then 100000 else build.systemd_cpu_quota;
        systemd_properties = limits;
      };
      vulnix = {
        inherit (vulnix) timeout enable_whitelist extra_args mirror;
        whitelist_path = vulnix.whitelist_path;
      };
      auth = {
        ssh_key_path = "${credentials}/ssh-key";
        ssh_known_hosts_path = auth.ssh_known_hosts_path;
        netrc_path = loaded "netrc" auth.netrc_path;
      };
      cache = {
        inherit (cache) cache_type push_to push_after_build compression push_filter attic_cache_name attic_jobs
          attic_ignore_upstream_cache_filter;
        signing_key = loaded "signing-key" cache.signing_key;
        attic_token_file = if cache.attic_token_file != null then loaded "attic-token" cache.attic_token_file
          else if cache.attic_token != null then pkgs.writeText "attic-token" cache.attic_token else null;
      };
    };
    check = ''
      export CRYSTAL_FORGE__BUILDER__PRIVATE_KEY=$PWD/key CRYSTAL_FORGE__AUTH__SSH_KEY_PATH=$PWD/key
      ${lib.optionalString (auth.netrc_path != null) "export CRYSTAL_FORGE__AUTH__NETRC_PATH=$PWD/key"}
      ${lib.optionalString (auth.ssh_known_hosts_path != null) "export CRYSTAL_FORGE__AUTH__SSH_KNOWN_HOSTS_PATH=$PWD/key"}
      ${lib.optionalString (cache.signing_key != null) "export CRYSTAL_FORGE__CACHE__SIGNING_KEY=$PWD/key"}
      ${lib.optionalString (cache.attic_token_file != null || cache.attic_token != null) "export CRYSTAL_FORGE__CACHE__ATTIC_TOKEN_FILE=$PWD/key"}
      ${lib.optionalString (vulnix.whitelist_path != null) "export CRYSTAL_FORGE__VULNIX__WHITELIST_PATH=$PWD/key"}
      ${lib.getExe cfg.packages.builder} --check-config
    '';
    environment = lib.optionalAttrs (cache.cache_type == "Attic") { nativeBuildInputs = [ pkgs.attic-client ]; };
  };
in
{
  config = lib.mkIf (cfg.enable && build.enable) {
    # Builds run in scopes of their own below this slice.
    systemd.slices.crystal-forge-builds.description = "Builds of Crystal Forge";

    systemd.services.crystal-forge-builder-key = {
      description = "Keys of the Crystal Forge builder";
      wantedBy = [ "multi-user.target" ];
      path = [ cfg.packages.cf pkgs.openssh pkgs.coreutils ];
      script = ''
        ${lib.optionalString (build.private_key == null) "[ -e ${ownKey} ] || cf keygen --yes --file ${ownKey}"}
        ${lib.optionalString (auth.ssh_key_path == null) ''
          mkdir -p -m 0700 ${dirOf ownSshKey}
          [ -e ${ownSshKey} ] || ssh-keygen -q -t ed25519 -N "" -f ${ownSshKey}
        ''}
      '';
      serviceConfig = import ./hardening.nix // {
        Type = "oneshot";
        RemainAfterExit = true;
        StateDirectory = [ "crystal-forge-builder" "crystal-forge" ];
        StateDirectoryMode = "0700";
        # Keys belong to root, as the builder that reads them does.
        PrivateUsers = false;
      };
    };

    # To look at, and for the checks of the flake.
    system.build.crystal-forge-builder-config = configFile;

    systemd.services.crystal-forge-builder = {
      description = "Crystal Forge builder";
      wantedBy = [ "multi-user.target" ];
      wants = [ "network-online.target" ];
      after = [ "network-online.target" "crystal-forge-builder-key.service" ] ++ lib.optional cfg.server.enable "crystal-forge-server.service";
      requires = [ "crystal-forge-builder-key.service" ];
      path = [ config.nix.package pkgs.git pkgs.jq pkgs.openssh pkgs.systemd pkgs.vulnix pkgs.util-linux pkgs.zstd ]
        ++ lib.optional (cache.cache_type == "Attic") pkgs.attic-client;
      environment = environment // {
        CRYSTAL_FORGE_CONFIG = "${configFile}";
        LOG_LEVEL = cfg.log_level;
        # Limits of a scope do not reach builds that a daemon does.
        NIX_REMOTE = "local";
      };
      script = ''
        ${lib.optionalString localServer ''
          server=/var/lib/crystal-forge/server.json
          until [ -s $server ]; do sleep 0.5; done
          CRYSTAL_FORGE__BUILDER__JOB_PUBLIC_KEY=$(jq -r .jobPublicKey $server)
          CRYSTAL_FORGE__BUILDER__AWS_ENDPOINT=$(jq -r .awsEndpoint $server)
          export CRYSTAL_FORGE__BUILDER__JOB_PUBLIC_KEY CRYSTAL_FORGE__BUILDER__AWS_ENDPOINT
        ''}
        exec ${lib.getExe cfg.packages.builder} run
      '';
      # A build in hand is reported and done again elsewhere: switching the system must not wait for hours.
      stopIfChanged = false;
      serviceConfig = {
        EnvironmentFile = "-${cfg.env-file}";
        LoadCredential = [
          "builder.key:${if build.private_key != null then build.private_key else ownKey}"
          "ssh-key:${if auth.ssh_key_path != null then auth.ssh_key_path else ownSshKey}"
        ]
        ++ lib.optional (auth.netrc_path != null) "netrc:${auth.netrc_path}"
        ++ lib.optional (cache.signing_key != null) "signing-key:${cache.signing_key}"
        ++ lib.optional (cache.attic_token_file != null) "attic-token:${cache.attic_token_file}";
        StateDirectory = "crystal-forge-builder";
        StateDirectoryMode = "0700";
        CacheDirectory = "crystal-forge";
        CacheDirectoryMode = "0700";
        Slice = "system.slice";
        Restart = "on-failure";
        RestartSec = 10;
        TimeoutStopSec = 120;
        UMask = "0077";
        # Root, and no file system protection: Nix writes the store, makes users' sandboxes and systemd scopes. What a build may
        # do is limited by its sandbox and its scope, not by this unit.
        LockPersonality = true;
        NoNewPrivileges = true;
        PrivateTmp = true;
        ProtectHome = true;
        ProtectClock = true;
        ProtectHostname = true;
        ProtectKernelLogs = true;
        ProtectKernelModules = true;
        RestrictRealtime = true;
        SystemCallArchitectures = "native";
      };
    };
  };
}
