# All packages, by name.
pkgs: {
  crystal-forge-server = pkgs.callPackage ./crystal-forge-server.nix { };
  crystal-forge-builder = pkgs.callPackage ./crystal-forge-builder.nix { };
  crystal-forge-agent = pkgs.callPackage ./crystal-forge-agent.nix { };
  cf = pkgs.callPackage ./cf.nix { };
  crystal-forge-dashboards = pkgs.callPackage ./crystal-forge-dashboards.nix { };
  stig-catalogue = pkgs.callPackage ./stig-catalogue.nix { };
}
