# What NixOS is told about the database of this machine, and the scripts that prepare it. `passwords`: whether roles get some.
args@{ harness ? null, generation ? "24.11", socket, passwords }:
let
  world = import ./evaluate.nix (removeAttrs args [ "socket" "passwords" ]);
  inherit (world) lib;
  fixture = import ./lib/pkgs.nix { lib = import ./lib; };
  withPasswords = passwords == "with passwords";
  inherit ((world.evaluate [
    ../../nix/modules/crystal-forge
    {
      services.crystal-forge = {
        enable = true;
        server.enable = true;
        build.enable = false;
        packages = lib.genAttrs [ "server" "builder" "agent" "cf" "dashboards" ] (name: fixture.${if name == "cf" then name else "crystal-forge-${name}"});
        database = { host = socket; passwordFile = if withPasswords then "/run/secrets/db" else null; };
        dashboards = { enable = true; datasource.passwordFile = if withPasswords then "/run/secrets/grafana" else null; };
      };
    }
  ])) config;
  inherit (config.services) postgresql;
in
{
  # NixOS adds its own lines after those of modules; the stand-in for its tree does not.
  authentication = postgresql.authentication + "local all all peer\n";
  inherit (postgresql) identMap;
  ensureDatabases = postgresql.ensureDatabases;
  users = map (user: { inherit (user) name; clauses = lib.attrNames (lib.filterAttrs (_: value: value == true) (user.ensureClauses or { })); }) postgresql.ensureUsers;
  prepare = config.systemd.services.crystal-forge-database.script;
  grafana = config.systemd.services.crystal-forge-grafana-db-init.script;
  server = config.system.build.crystal-forge-server-config.passthru.settings;
}
