{ callPackage }:
callPackage ./bundle.nix { } {
  pname = "crystal-forge-agent";
  program = "host-agent";
  description = "Agent of Crystal Forge on a NixOS host";
}
