# What services.crystal-forge.dashboards makes, for a role and a database of the caller's.
args@{ harness ? null, generation ? "24.11", user, database, dataDir ? "/var/lib/grafana", secretKey ? null }:
let
  world = import ./evaluate.nix (removeAttrs args [ "user" "database" "dataDir" "secretKey" ]);
  inherit (world) lib;
  fixture = import ./lib/pkgs.nix { lib = import ./lib; };
  inherit ((world.evaluate [
    ../../nix/modules/crystal-forge
    {
      services.grafana = { inherit dataDir; settings.security = lib.optionalAttrs (secretKey != null) { secret_key = secretKey; }; };
      services.crystal-forge = {
        enable = true;
        server.enable = true;
        build.enable = false;
        packages = lib.genAttrs [ "server" "builder" "agent" "cf" "dashboards" ] (name: fixture.${if name == "cf" then name else "crystal-forge-${name}"});
        dashboards = { enable = true; datasource = { inherit user database; passwordFile = "/run/secrets/grafana"; }; };
      };
    }
  ])) config;
  unit = config.systemd.services.crystal-forge-grafana-db-init;
in
{
  inherit (unit) script;
  secretKey = config.services.grafana.settings.security.secret_key;
  # Without what NixOS itself does there.
  preStart = lib.concatStringsSep "\n" (lib.filter (line: !lib.hasPrefix "ln -fs" line)
    (lib.splitString "\n" (builtins.replaceStrings [ "${world.pkgs.coreutils}" ] [ "/usr" ] (builtins.unsafeDiscardStringContext config.systemd.services.grafana.preStart))));
  credentials = unit.serviceConfig.LoadCredential;
  grafanaCredentials = config.systemd.services.grafana.serviceConfig.LoadCredential;
  authentication = config.services.postgresql.authentication;
  datasource = lib.head config.services.grafana.provision.datasources.settings.datasources;
  provider = lib.head config.services.grafana.provision.dashboards.settings.providers;
}
