{ callPackage }:
callPackage ./bundle.nix { } {
  pname = "crystal-forge-server";
  program = "server";
  description = "Control plane of Crystal Forge in one process";
  files = [ "migrations" "catalogue" ];
}
