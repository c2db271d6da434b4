# The packages of the flake, built without nixpkgs, from this checkout or from another copy of it. With `harness`, by nixpkgs' own lib.
{ node, nodeModules, root ? null, harness ? null }:
let lib = import (if harness == null then ./lib else /. + harness + "/lib"); in
import (if root == null then ../../nix/packages else /. + root + "/nix/packages") (import ./stdenv { inherit node nodeModules lib; })
