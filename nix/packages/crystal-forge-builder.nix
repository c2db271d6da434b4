{ callPackage }:
callPackage ./program.nix { } {
  pname = "crystal-forge-builder";
  program = "builder-agent";
  description = "Builder of Crystal Forge";
}
