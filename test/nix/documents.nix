# What a module of the documents makes of a system.
args@{ harness ? null, generation ? "24.11", file }:
let
  world = import ./evaluate.nix (removeAttrs args [ "file" ]);
  inherit (world) lib;
  fixture = import ./lib/pkgs.nix { lib = import ./lib; };
  crystal-forge.nixosModules = { crystal-forge = ../../nix/modules/crystal-forge; } // import ../../nix/stig/modules.nix;
  written = import (/. + file);
  # Where a site passes its inputs on to its modules.
  module = if lib.isFunction written then written { inherit crystal-forge; } else written;
  programs = {
    services.crystal-forge.packages = lib.genAttrs [ "server" "builder" "agent" "cf" "dashboards" ] (name: fixture.${if name == "cf" then name else "crystal-forge-${name}"});
  };
  inherit ((world.evaluate [ crystal-forge.nixosModules.crystal-forge programs module ])) config;
in
{
  failed = map (one: one.message) (lib.filter (one: !one.assertion && lib.hasInfix "crystal-forge" one.message) config.assertions);
  # What a system does not meet of the STIG is told in a warning, and no document promises that it meets everything.
  warnings = lib.filter (lib.hasInfix "services.crystal-forge") config.warnings;
  units = lib.filter (lib.hasPrefix "crystal-forge") (lib.attrNames config.systemd.services);
}
