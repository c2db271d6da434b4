# The database on this machine: role, password and who may connect. Nobody is trusted without a password or the right user.
{ lib, config, pkgs, ... }:
let
  cfg = config.services.crystal-forge;
  inherit (cfg) database;
  hardening = import ./hardening.nix;
  local = cfg.enable && cfg.server.enable && cfg.local-database;
in
{
  config = lib.mkIf local {
    assertions = [{
      assertion = database.user == database.name;
      message = "services.crystal-forge.database.user and .name must be equal while local-database is true: NixOS makes the role the owner of the database of its name.";
    }];

    services.postgresql = {
      enable = true;
      # The schema uses what Postgres 18 brings; NixOS chooses by the age of the system, with mkDefault.
      package = lib.mkIf (pkgs ? postgresql_18) (lib.mkOverride 900 pkgs.postgresql_18);
      ensureDatabases = [ database.name ];
      ensureUsers = [{
        name = database.user;
        ensureDBOwnership = true;
        # The server makes one role for each part of itself, with the least grants.
        ensureClauses.createrole = true;
      }];
      identMap = lib.mkAfter "crystal-forge crystal-forge ${database.user}\n";
      # Before the general lines: the first that fits decides.
      authentication = lib.mkBefore ''
        local ${database.name} ${database.user} peer map=crystal-forge
        local ${database.name} postgres peer
        local ${database.name} all scram-sha-256
        host ${database.name} all 127.0.0.1/32 scram-sha-256
        host ${database.name} all ::1/128 scram-sha-256
      '';
    };

    systemd.services.crystal-forge-database = {
      description = "Role of Crystal Forge in the local database";
      after = [ "postgresql.service" "postgresql-setup.service" ];
      requires = [ "postgresql.service" ];
      # Connects as the superuser: the role that is set up need not be able to log in yet.
      path = [ config.services.postgresql.package ];
      script = if database.passwordFile == null then "psql --no-psqlrc --command 'select 1' >/dev/null" else ''
        # The password goes through a file descriptor, never through a command line.
        psql --no-psqlrc --set ON_ERROR_STOP=1 --quiet <<'SQL'
        -- What fails is logged with its statement, and this one holds a secret.
        set log_min_error_statement = panic;
        set log_statement = none;
        \set password `cat "$CREDENTIALS_DIRECTORY/password"`
        alter role "${database.user}" with login password :'password';
        SQL
      '';
      serviceConfig = hardening // {
        Type = "oneshot";
        RemainAfterExit = true;
        User = "postgres";
        Group = "postgres";
        # Postgres knows its superuser by the user of the process.
        PrivateUsers = false;
        LoadCredential = lib.optional (database.passwordFile != null) "password:${database.passwordFile}";
      };
    };
  };
}
