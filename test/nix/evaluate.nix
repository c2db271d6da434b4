# How the tests evaluate a list of modules: without nixpkgs, or with the real tree when `harness` is its directory.
{ harness ? null, generation ? "24.11" }:
if harness == null then
  let
    lib = import ./lib;
    pkgs = import ./lib/pkgs.nix { inherit lib; };
  in
  {
    inherit lib pkgs generation;
    evaluate = modules: lib.evalModules {
      modules = [ (import ./nixos { inherit generation; }) ] ++ modules;
      specialArgs = { inherit pkgs; };
    };
  }
else
  let
    root = /. + harness;
    lib = import (root + "/lib");
    base = {
      nixpkgs.hostPlatform = "x86_64-linux";
      system.stateVersion = "24.05";
      boot.loader.grub.device = "/dev/vda";
      fileSystems."/" = { device = "/dev/vda1"; fsType = "ext4"; };
      documentation.nixos.enable = false;
    };
    # The packages of that tree are stubs, and the newest Postgres among them is 16.
    postgres = { pkgs, ... }: { services.postgresql.package = pkgs.postgresql_16; };
    evaluate = modules: import (root + "/nixos/lib/eval-config.nix") { inherit lib; system = null; modules = modules ++ [ base postgres ]; };
  in
  {
    inherit lib evaluate;
    generation = "24.11";
    inherit ((evaluate [ ])) pkgs;
  }
