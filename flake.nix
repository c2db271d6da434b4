{
  description = "Crystal Forge proves what a NixOS fleet runs";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-25.11";

  outputs = { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      systems = [ "x86_64-linux" "aarch64-linux" ];
      eachSystem = make: lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});
    in
    {
      packages = eachSystem (pkgs: import ./nix/packages pkgs);
      overlays.default = final: _: import ./nix/packages final;
      nixosModules = { crystal-forge = ./nix/modules/crystal-forge; default = ./nix/modules/crystal-forge; } // import ./nix/stig/modules.nix;
      lib = import ./nix/stig/lib.nix;
      checks = eachSystem (pkgs: import ./nix/tests { inherit self pkgs; });
      devShells = eachSystem (pkgs: { default = import ./nix/dev/shell.nix { inherit pkgs; }; });
      formatter = eachSystem (pkgs: import ./nix/dev/formatter.nix { inherit pkgs; });
    };
}
