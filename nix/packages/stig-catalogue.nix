# The catalogue as files, with its digest beside it.
{ lib, stdenvNoCC }:
let
  root = ../../catalogue;
  catalogue = import ../stig/catalogue.nix { inherit lib; };
in
stdenvNoCC.mkDerivation {
  pname = "crystal-forge-stig-catalogue";
  version = catalogue.about.current;
  src = lib.fileset.toSource { inherit root; fileset = root; };
  dontBuild = true;
  installPhase = ''
    mkdir -p $out/share/crystal-forge
    cp -r . $out/share/crystal-forge/catalogue
    printf '%s\n' ${catalogue.sha256} > $out/share/crystal-forge/catalogue.sha256
  '';
  meta = { description = "Rules of the ${catalogue.about.title} as data"; license = lib.licenses.asl20; };
}
