# Checks of the flake: virtual machines, and evaluations of the modules. Each has the names that users know, with "-" and with "_".
{ self, pkgs }:
let
  inherit (pkgs) lib;
  common = import ./lib.nix { inherit self pkgs; };
  tests = lib.genAttrs [ "database" "server" "builder" "s3-cache" "attic-cache" "deploy" "stig" "dashboard" ]
    (name: import (./. + "/${name}.nix") { inherit self pkgs lib common; });
in
tests // lib.mapAttrs' (name: lib.nameValuePair (lib.replaceStrings [ "-" ] [ "_" ] name)) tests
