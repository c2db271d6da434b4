{ callPackage, postgresql_18 }:
callPackage ./program.nix { } {
  pname = "crystal-forge-server";
  program = "server";
  description = "Control plane of Crystal Forge in one process";
  files = [ "migrations" "catalogue" ];
  # For its own database, where none is configured: the programs that npm brings do not run on NixOS.
  environment.CRYSTAL_FORGE__SERVER__POSTGRES_DIRECTORY = "${postgresql_18}/bin";
}
