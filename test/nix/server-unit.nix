# The units of a control plane with a database elsewhere, as the module writes them, and the files of the store that they name.
args@{ harness ? null, generation ? "24.11", host, port, user, database }:
let
  world = import ./evaluate.nix (removeAttrs args [ "host" "port" "user" "database" ]);
  inherit (world) lib;
  fixture = import ./lib/pkgs.nix { lib = import ./lib; };
  inherit ((world.evaluate [
    ../../nix/modules/crystal-forge
    {
      services.crystal-forge = {
        enable = true;
        local-database = false;
        server.enable = true;
        build.enable = false;
        packages = lib.genAttrs [ "server" "builder" "agent" "cf" "dashboards" ] (name: fixture.${if name == "cf" then name else "crystal-forge-${name}"});
        database = { inherit host user; name = database; port = lib.toIntBase10 port; };
        systems = [{ hostname = "web-1"; public_key = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="; environment = "production"; }];
      };
    }
  ])) config;
  inherit (config.services.crystal-forge) packages;
  bare = builtins.unsafeDiscardStringContext;
  unit = name:
    let one = config.systemd.services.${name}; in
    {
      environment = lib.mapAttrs (_: value: bare "${value}") (lib.filterAttrs (key: value: value != null && key != "PATH") one.environment);
      script = bare (one.script or "");
      serviceConfig = lib.mapAttrs (_: value: if builtins.isString value then bare value else value) (removeAttrs one.serviceConfig [ "ExecStartPre" ]);
    };
in
{
  server = unit "crystal-forge-server";
  apply = unit "crystal-forge-apply";
  settings = config.system.build.crystal-forge-server-config.passthru.settings;
  configFile = bare "${config.system.build.crystal-forge-server-config}";
  fleetFile = bare "${config.system.build.crystal-forge-fleet}";
  fleet = config.system.build.crystal-forge-fleet.text or null;
  programs = { server = bare (lib.getExe packages.server); cf = bare (lib.getExe packages.cf); };
}
