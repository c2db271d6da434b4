# The virtual machines of nix/tests: their scripts, and what each machine is made of.
args@{ harness ? null, generation ? "24.11" }:
let
  world = import ./evaluate.nix args;
  inherit (world) lib;
  fixture = import ./lib/pkgs.nix { lib = import ./lib; };
  stig = import ../../nix/stig/modules.nix;
  self.nixosModules = { crystal-forge = ../../nix/modules/crystal-forge; } // stig;
  pkgs = {
    inherit lib;
    inherit (fixture) jq git writeText;
    stdenv.hostPlatform = { system = "x86_64-linux"; isx86_64 = true; };
    testers.runNixOSTest = test: test;
  };
  tests = import ../../nix/tests { inherit self pkgs; };

  # Options of NixOS that only the tests set. In the real tree the module of virtual machines has them; Attic came later than that tree.
  anything = lib.mkOption { type = lib.types.attrsOf lib.types.anything; default = { }; };
  attic = { options.services.atticd = anything; };
  aside =
    if harness != null then [ (/. + harness + "/nixos/modules/virtualisation/qemu-vm.nix") attic ]
    else [
      attic
      {
        options = {
          virtualisation = anything;
          specialisation = anything;
          users.allowNoPasswordLogin = lib.mkOption { type = lib.types.bool; default = false; };
        };
      }
    ];
  programs = {
    services.crystal-forge.packages = lib.genAttrs [ "server" "builder" "agent" "cf" "dashboards" ] (name: fixture.${if name == "cf" then name else "crystal-forge-${name}"});
  };
  machine = name: node:
    let
      isForge = name != "attic" && name != "machine";
      inherit ((world.evaluate ([ node { networking.hostName = name; } ] ++ lib.optional isForge programs ++ aside)))
        config;
    in
    {
      failed = map (one: one.message) (lib.filter (one: !one.assertion) config.assertions);
      warnings = lib.filter (lib.hasInfix "crystal-forge") config.warnings;
      units = lib.filter (lib.hasPrefix "crystal-forge") (lib.attrNames config.systemd.services);
    };
in
{
  names = lib.attrNames tests;
  tests = lib.mapAttrs
    (_: test: {
      inherit (test) testScript;
      machines = lib.attrNames (test.nodes);
    })
    (lib.filterAttrs (name: _: !lib.hasInfix "_" name) tests);
  machines = lib.mapAttrs (_: test: lib.mapAttrs machine test.nodes) (lib.filterAttrs (name: _: !lib.hasInfix "_" name) tests);
}
