{ lib, config, pkgs, ... }:
let
  cfg = config.services.crystal-forge;
  inherit (cfg) server database;
  checkedConfig = import ./checked-config.nix { inherit lib pkgs; };
  hardening = import ./hardening.nix;
  stateDirectory = "/var/lib/crystal-forge";
  credential = name: "/run/credentials/crystal-forge-server.service/${name}";

  # Sections that `cf apply` reads, in the words of the original.
  seeded = [ "dev" "test" "preprod" "prod" ];
  declared = map (environment: environment.name) cfg.environments;
  named = lib.unique (map (system: system.environment) cfg.systems);
  undeclared = lib.subtractLists (seeded ++ declared) named;
  fleet = {
    FLAKES = { inherit (cfg.flakes) watched; FLAKE_POLLING_INTERVAL = cfg.flakes.flake_polling_interval; };
    # An environment that systems name is made, so that none of them is refused for it.
    environments = cfg.environments
      ++ map (name: { inherit name; description = ""; is_active = true; risk_profile = "MEDIUM"; compliance_level = "NONE"; }) undeclared;
    systems = cfg.systems;
  };

  # The builder of this machine registers itself, with the key that was made for it or the one that is declared.
  registersBuilder = cfg.build.enable && (cfg.build.private_key == null || cfg.build.public_key != null);
  builderKey = if cfg.build.public_key != null then lib.escapeShellArg cfg.build.public_key else ''"$(cat "$CREDENTIALS_DIRECTORY/builder.pub")"'';

  configFile = checkedConfig {
    name = "crystal-forge-server";
    settings = {
      SERVER = {
        HOST = server.host;
        PORT = server.port;
        AUTHORITY = server.authority;
        DATA_DIRECTORY = stateDirectory;
        TENANT = server.tenant;
        NEXT_REPORT_IN_S = server.next_report_in_s;
        LEASE_S = server.lease_s;
      };
      DATABASE = {
        HOST = database.host;
        PORT = database.port;
        USER = database.user;
        NAME = database.name;
        PASSWORD = database.password;
        PASSWORD_FILE = if database.passwordFile != null then credential "database-password" else null;
        CA_FILE = database.caFile;
      };
    };
    check = ''
      ${lib.optionalString (database.passwordFile != null) "export CRYSTAL_FORGE__DATABASE__PASSWORD_FILE=$PWD/key"}
      ${lib.getExe cfg.packages.server} --check-config
    '';
  };
  fleetFile = (pkgs.formats.toml { }).generate "crystal-forge-fleet.toml" (withoutNull fleet);
  withoutNull = value:
    if builtins.isAttrs value then lib.mapAttrs (_: withoutNull) (lib.filterAttrs (_: part: part != null) value)
    else if builtins.isList value then map withoutNull value
    else value;
in
{
  config = lib.mkIf (cfg.enable && server.enable) {
    users.users.crystal-forge = { isSystemUser = true; group = "crystal-forge"; home = stateDirectory; };
    users.groups.crystal-forge = { };
    networking.firewall.allowedTCPPorts = lib.optional server.openFirewall server.port;
    environment.systemPackages = [ cfg.packages.cf ];

    systemd.tmpfiles.rules = [ "L+ ${cfg.configPath} - - - - ${configFile}" ];

    # To look at, and for the checks of the flake.
    system.build.crystal-forge-server-config = configFile;

    system.build.crystal-forge-fleet = fleetFile;
    systemd.services.crystal-forge-server = {
      description = "Crystal Forge control plane";
      wantedBy = [ "multi-user.target" ];
      wants = [ "network-online.target" ];
      after = [ "network-online.target" ] ++ lib.optionals cfg.local-database [ "postgresql.service" "crystal-forge-database.service" ];
      requires = lib.optionals cfg.local-database [ "crystal-forge-database.service" ];
      environment = {
        CRYSTAL_FORGE_CONFIG = "${configFile}";
        LOG_LEVEL = cfg.log_level;
      } // lib.optionalAttrs (server.awsEndpoint != null) { AWS_ENDPOINT_URL = server.awsEndpoint; };
      serviceConfig = hardening // {
        ExecStart = lib.getExe cfg.packages.server;
        User = "crystal-forge";
        Group = "crystal-forge";
        StateDirectory = "crystal-forge";
        # Secrets of the installation lie there.
        StateDirectoryMode = "0700";
        LoadCredential = lib.optional (database.passwordFile != null) "database-password:${database.passwordFile}";
        Restart = "on-failure";
        RestartSec = 5;
        TimeoutStopSec = 60;
      } // lib.optionalAttrs (lib.hasPrefix "/" database.host) {
        # The socket tells Postgres who calls by the user of the process, which a user namespace would hide.
        PrivateUsers = false;
      };
    };

    systemd.services.crystal-forge-apply = lib.mkIf cfg.apply.enable {
      description = "Declared flakes, systems and environments of Crystal Forge";
      wantedBy = [ "multi-user.target" ];
      after = [ "crystal-forge-server.service" ] ++ lib.optional cfg.build.enable "crystal-forge-builder-key.service";
      requires = [ "crystal-forge-server.service" ];
      environment = {
        CF_SERVER = "http://127.0.0.1:${toString server.port}";
        CF_TOKEN_FILE = "${stateDirectory}/secrets/admin-token";
      };
      # A declaration that changed is applied without a new start of the server.
      restartTriggers = [ fleetFile ];
      script = ''
        umask 077
        cat ${fleetFile} > $RUNTIME_DIRECTORY/fleet.toml
        ${lib.optionalString registersBuilder ''
          printf '\n[[builders]]\nname = "%s"\npublic_key = "%s"\n' ${lib.escapeShellArg cfg.build.name} ${builderKey} >> $RUNTIME_DIRECTORY/fleet.toml
        ''}
        until [ -s ${stateDirectory}/server.json ] && [ -s "$CF_TOKEN_FILE" ]; do sleep 0.2; done
        ${lib.getExe cfg.packages.cf} apply -f $RUNTIME_DIRECTORY/fleet.toml${lib.optionalString cfg.apply.prune " --prune"}
      '';
      serviceConfig = hardening // {
        Type = "oneshot";
        RemainAfterExit = true;
        User = "crystal-forge";
        Group = "crystal-forge";
        RuntimeDirectory = "crystal-forge-apply";
        RuntimeDirectoryMode = "0700";
        LoadCredential = lib.optional (registersBuilder && cfg.build.public_key == null) "builder.pub:/var/lib/crystal-forge-builder/builder.pub";
        TimeoutStartSec = 120;
        Restart = "on-failure";
        RestartSec = 10;
      };
    };
  };
}
