# Checks of the flake: virtual machines. Each has the names that users know, with "-" and with "_".
{ self, pkgs }:
let
  inherit (pkgs) lib;
  common = import ./lib.nix { inherit self pkgs; };
  everywhere = [ "database" "server" "deploy" "stig" "dashboard" ];
  # The fleet that they build is for this platform.
  onIntel = [ "builder" "s3-cache" "attic-cache" ];
  tests = lib.genAttrs (everywhere ++ lib.optionals pkgs.stdenv.hostPlatform.isx86_64 onIntel)
    (name: import (./. + "/${name}.nix") { inherit self pkgs lib common; });
in
tests // lib.mapAttrs' (name: lib.nameValuePair (lib.replaceStrings [ "-" ] [ "_" ] name)) tests
