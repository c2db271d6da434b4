{ lib, config, pkgs, ... }:
let
  cfg = config.services.crystal-forge;
  inherit (cfg) dashboards;
  inherit (dashboards) datasource;
  localRole = cfg.server.enable && cfg.local-database;
  # Grafana wants HOST:PORT, or the directory of the socket.
  # What Grafana encrypts its own secrets with. nixos-26.05 has no default any more; before, it was the same on every machine.
  inherit (config.services.grafana) dataDir;
  secretKey = "${dataDir}/crystal-forge-secret-key";
  fromFile = "$__file{${secretKey}}";
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
      settings.security.secret_key = lib.mkDefault fromFile;
      # Grafana's own default is the port of the server.
      settings.server.http_port = lib.mkDefault 3446;
      provision = lib.mkIf dashboards.grafana.provision {
        enable = true;
        datasources.settings.datasources = [({
          inherit (datasource) name user database;
          type = "grafana-postgresql-datasource";
          uid = "crystal-forge-postgres";
          inherit url;
          jsonData = { inherit (datasource) database; sslmode = datasource.sslMode; postgresVersion = 1800; };
          editable = false;
        } // lib.optionalAttrs (datasource.passwordFile != null) {
          secureJsonData.password = "$__file{/run/credentials/grafana.service/crystal-forge-password}";
        })];
        dashboards.settings.providers = [{
          name = "Crystal Forge";
          folder = "Crystal Forge";
          inherit (dashboards.grafana) disableDeletion;
          options.path = "${cfg.packages.dashboards}/share/crystal-forge/dashboards";
        }];
      };
    };
    systemd.services.grafana = {
      # A database of before was written with what was the default of Grafana then, and is not readable with another key.
      preStart = lib.mkIf (config.services.grafana.settings.security.secret_key == fromFile) ''
        if [ ! -s ${lib.escapeShellArg secretKey} ]; then
          umask 077
          if [ -e ${lib.escapeShellArg "${dataDir}/data/grafana.db"} ]; then
            echo SW2YcwTIb9zpOOhoPsMm
          else
            ${pkgs.coreutils}/bin/od -An -N32 -tx1 /dev/urandom | ${pkgs.coreutils}/bin/tr -d ' \n'
          fi > ${lib.escapeShellArg "${secretKey}.new"}
          ${pkgs.coreutils}/bin/mv ${lib.escapeShellArg "${secretKey}.new"} ${lib.escapeShellArg secretKey}
        fi
      '';
      after = lib.optional localRole "crystal-forge-grafana-db-init.service";
      serviceConfig.LoadCredential = lib.optional (datasource.passwordFile != null) "crystal-forge-password:${datasource.passwordFile}";
    };

    # Before the line for everybody else, which asks for a password: the first that fits decides.
    services.postgresql.authentication = lib.mkIf localRole (lib.mkOrder 400 "local ${datasource.database} ${datasource.user} ${if datasource.passwordFile == null then "peer" else "scram-sha-256"}\n");

    # After the server, whose schema holds the role that may read the views.
    systemd.services.crystal-forge-grafana-db-init = lib.mkIf localRole {
      description = "Role of Grafana in the database of Crystal Forge";
      wantedBy = [ "multi-user.target" ];
      after = [ "crystal-forge-server.service" ];
      requires = [ "crystal-forge-server.service" ];
      path = [ config.services.postgresql.package pkgs.coreutils ];
      # The tenant is the last that the server makes at its first start.
      script = ''
        ask() { psql --no-psqlrc --dbname ${lib.escapeShellArg datasource.database} "$@"; }
        known() { ask --tuples-only --set tenant=${lib.escapeShellArg cfg.server.tenant} <<< "select 1 from tenant where name = :'tenant'" 2>/dev/null | grep -q 1; }
        until known; do sleep 1; done
        ask --set ON_ERROR_STOP=1 --quiet --set role=${lib.escapeShellArg datasource.user} --set tenant=${lib.escapeShellArg cfg.server.tenant} <<'SQL'
        select format('create role %I login', :'role') where not exists (select from pg_roles where rolname = :'role') \gexec
        ${lib.optionalString (datasource.passwordFile != null) ''
          -- What fails is logged with its statement, and this one holds a secret.
          set log_min_error_statement = panic;
          set log_statement = none;
          \set password `cat "$CREDENTIALS_DIRECTORY/password"`
          alter role :"role" password :'password';
        ''}
        grant cf_dashboards to :"role";
        insert into dashboard_login (login, tenant) select :'role', id from tenant where name = :'tenant'
        on conflict (login) do update set tenant = excluded.tenant;
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
