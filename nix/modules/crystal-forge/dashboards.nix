{ lib, config, pkgs, ... }:
let
  cfg = config.services.crystal-forge;
  inherit (cfg) dashboards;
  inherit (dashboards) datasource;
  folder = ../../../dashboards;
  localRole = cfg.server.enable && cfg.local-database;
  # Grafana wants HOST:PORT, or the directory of the socket.
  url = if lib.hasPrefix "/" datasource.host then datasource.host else "${datasource.host}:${toString datasource.port}";
in
{
  config = lib.mkIf (cfg.enable && dashboards.enable) {
    assertions = [{
      assertion = datasource.passwordFile != null || lib.hasPrefix "/" datasource.host;
      message = "services.crystal-forge.dashboards.datasource.passwordFile is missing: over the network Grafana needs a password.";
    }];

    services.grafana = {
      enable = true;
      # Nothing about this installation leaves it.
      settings.analytics.reporting_enabled = lib.mkDefault false;
      # Grafana's own default is the port of the server.
      settings.server.http_port = lib.mkDefault 3446;
      provision = lib.mkIf dashboards.grafana.provision {
        enable = true;
        datasources.settings.datasources = [({
          inherit (datasource) name user database;
          type = "postgres";
          uid = "crystal-forge-postgres";
          inherit url;
          jsonData = { sslmode = datasource.sslMode; postgresVersion = 1800; };
          editable = false;
        } // lib.optionalAttrs (datasource.passwordFile != null) {
          secureJsonData.password = "$__file{/run/credentials/grafana.service/crystal-forge-password}";
        })];
        dashboards.settings.providers = lib.mkIf (builtins.pathExists folder) [{
          name = "Crystal Forge";
          inherit (dashboards.grafana) disableDeletion;
          options.path = folder;
        }];
      };
    };
    systemd.services.grafana = {
      after = lib.optional localRole "crystal-forge-grafana-db-init.service";
      serviceConfig.LoadCredential = lib.optional (datasource.passwordFile != null) "crystal-forge-password:${datasource.passwordFile}";
    };

    services.postgresql.authentication = lib.mkIf localRole (lib.mkBefore "local ${datasource.database} ${datasource.user} ${if datasource.passwordFile == null then "peer" else "scram-sha-256"}\n");

    # After the server, whose schema holds the role that may read the views.
    systemd.services.crystal-forge-grafana-db-init = lib.mkIf localRole {
      description = "Role of Grafana in the database of Crystal Forge";
      wantedBy = [ "multi-user.target" ];
      after = [ "crystal-forge-server.service" ];
      requires = [ "crystal-forge-server.service" ];
      path = [ config.services.postgresql.package pkgs.coreutils ];
      script = ''
        until psql --no-psqlrc --dbname ${lib.escapeShellArg datasource.database} --tuples-only --command "select 1 from pg_roles where rolname = 'cf_dashboards'" | grep -q 1; do sleep 1; done
        psql --no-psqlrc --set ON_ERROR_STOP=1 --quiet --dbname ${lib.escapeShellArg datasource.database} <<'SQL'
        select 'create role "${datasource.user}" login' where not exists (select from pg_roles where rolname = '${datasource.user}') \gexec
        ${lib.optionalString (datasource.passwordFile != null) ''
          \set password `cat "$CREDENTIALS_DIRECTORY/password"`
          alter role "${datasource.user}" password :'password';
        ''}
        grant cf_dashboards to "${datasource.user}";
        SQL
      '';
      serviceConfig = import ./hardening.nix // {
        Type = "oneshot";
        RemainAfterExit = true;
        User = "postgres";
        Group = "postgres";
        # Postgres knows its superuser by the user of the process.
        PrivateUsers = false;
        LoadCredential = lib.optional (datasource.passwordFile != null) "password:${datasource.passwordFile}";
        TimeoutStartSec = 120;
      };
    };
  };
}
