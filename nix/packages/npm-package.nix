# One package of the npm registry, as it was published. The integrity in package-lock.json is its hash, so nothing has to be renewed
# beside the lock file. The lock file holds no addresses; npm itself knows its registry, and a mirror is named as npm wants it: by
# npm_config_registry in the environment of the one who builds (of nix-daemon, where there is one).
{ lib, stdenvNoCC, nodejs_24, cacert }:
{ name, version, integrity, ... }:
stdenvNoCC.mkDerivation {
  name = "npm-${lib.replaceStrings [ "@" "/" ] [ "" "-" ] name}-${version}.tgz";
  nativeBuildInputs = [ nodejs_24 ];
  buildCommand = ''
    export HOME=$TMPDIR NODE_EXTRA_CA_CERTS=''${NODE_EXTRA_CA_CERTS:-${cacert}/etc/ssl/certs/ca-bundle.crt}
    npm pack --silent --ignore-scripts --pack-destination "$TMPDIR" ${lib.escapeShellArg "${name}@${version}"}
    mv "$TMPDIR"/*.tgz $out
  '';
  outputHash = integrity;
  outputHashMode = "flat";
  impureEnvVars = lib.fetchers.proxyImpureEnvVars ++ [ "npm_config_registry" "NODE_EXTRA_CA_CERTS" ];
  preferLocalBuild = true;
}
