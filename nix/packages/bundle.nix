# One program from its bundle: a file that esbuild made with everything in it, run by Node. `npm run build` writes dist/; nothing is
# downloaded here, and only the files that the program needs are taken, so that a change elsewhere builds nothing again.
{ lib, stdenvNoCC, makeWrapper, nodejs_24 }:
{ pname, program, description, files ? [ ], path ? [ ], environment ? { }, nodeFlags ? [ ] }:
let
  root = ../..;
  version = (lib.importJSON (root + "/package.json")).version;
  bundle = root + "/dist/${program}/main.mjs";
in
stdenvNoCC.mkDerivation {
  inherit pname version;
  src =
    if !builtins.pathExists bundle
    then throw "dist/${program}/main.mjs is missing: run `npm ci && npm run build` first, and name the flake as path:. because git does not track dist."
    else
      lib.fileset.toSource {
        inherit root;
        fileset = lib.fileset.unions ([ bundle ] ++ map (file: root + "/${file}") files);
      };
  nativeBuildInputs = [ makeWrapper ];
  dontBuild = true;
  installPhase = ''
    runHook preInstall
    mkdir -p $out/lib/crystal-forge $out/bin
    cp -r . $out/lib/crystal-forge
    makeWrapper ${lib.getExe nodejs_24} $out/bin/${pname} \
      --add-flags "${lib.concatStringsSep " " (nodeFlags ++ [ "$out/lib/crystal-forge/dist/${program}/main.mjs" ])}" \
      ${lib.optionalString (path != [ ]) "--suffix PATH : ${lib.makeBinPath path}"} \
      ${lib.concatStringsSep " " (lib.mapAttrsToList (name: value: "--set-default ${name} ${lib.escapeShellArg value}") environment)}
    runHook postInstall
  '';
  doInstallCheck = true;
  installCheckPhase = "HOME=$TMPDIR $out/bin/${pname} --version";
  meta = { inherit description; mainProgram = pname; license = lib.licenses.asl20; platforms = lib.platforms.linux; };
}
