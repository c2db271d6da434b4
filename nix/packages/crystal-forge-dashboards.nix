# Grafana's dashboards as files.
{ lib, stdenvNoCC }:
stdenvNoCC.mkDerivation {
  pname = "crystal-forge-dashboards";
  version = (lib.importJSON ../../package.json).version;
  src = lib.fileset.toSource { root = ../../dashboards; fileset = ../../dashboards; };
  dontBuild = true;
  installPhase = ''
    mkdir -p $out/share/crystal-forge
    cp -r . $out/share/crystal-forge/dashboards
  '';
  meta = { description = "Grafana dashboards of Crystal Forge"; license = lib.licenses.asl20; };
}
