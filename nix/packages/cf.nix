{ callPackage }:
callPackage ./program.nix { } {
  pname = "cf";
  program = "cli";
  description = "Command line of Crystal Forge";
}
