{ callPackage }:
callPackage ./program.nix { } {
  pname = "crystal-forge-agent";
  program = "host-agent";
  description = "Agent of Crystal Forge on a NixOS host";
  # It waits nearly all of its life: memory matters, speed does not (bench/p10-host-agent.ts measures with the same flags).
  nodeFlags = [ "--jitless" "--max-semi-space-size=1" ];
  environment.UV_THREADPOOL_SIZE = "1";
}
