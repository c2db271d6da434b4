# One program: its source and that of the workspaces it imports, bundled by esbuild into one file, and run by Node. Nothing is
# downloaded while it builds, and only the files that the program needs are taken, so that a change elsewhere builds nothing again.
{ lib, stdenvNoCC, callPackage, makeWrapper, nodejs-slim_24 }:
{ pname, program, description, files ? [ ], path ? [ ], environment ? { }, nodeFlags ? [ ] }:
let
  root = ../..;
  inherit (stdenvNoCC) buildPlatform;
  npmPackage = callPackage ./npm-package.nix { };
  lock = import ./npm-lock.nix { inherit lib; os = "linux"; cpu = if buildPlatform.isAarch64 then "arm64" else "x64"; };
  needed = lock [ program "node_modules/esbuild" ];

  isSource = file: file.name == "package.json" || file.hasExt "ts" && !lib.hasSuffix ".test.ts" file.name;
  sourceOf = workspace: lib.fileset.fileFilter isSource (root + "/${workspace}");
  beside = map (file: root + "/${file}") files;
in
stdenvNoCC.mkDerivation {
  inherit pname;
  version = (lib.importJSON (root + "/package.json")).version;
  src = lib.fileset.toSource {
    inherit root;
    fileset = lib.fileset.unions ([ (root + "/scripts/build.ts") (root + "/tsconfig.json") ] ++ map sourceOf needed.workspaces ++ beside);
  };
  nativeBuildInputs = [ makeWrapper nodejs-slim_24 ];

  # A line each: a place and the tarball that is unpacked there, a place and where it points. npm itself would want to ask its registry.
  npmPackages = lib.concatMapStrings (package: "${package.place} ${npmPackage package}\n") needed.registry;
  npmLinks = lib.concatMapStrings (link: "${link.place} ${link.target}\n") needed.links;
  passAsFile = [ "npmPackages" "npmLinks" ];
  configurePhase = ''
    runHook preConfigure
    while read -r place tarball; do
      mkdir -p "$place"
      tar --extract --file "$tarball" --directory "$place" --strip-components 1 --no-same-owner
    done < "$npmPackagesPath"
    chmod -R u+rwX,go+rX node_modules
    while read -r place target; do
      mkdir -p "$(dirname "$place")"
      ln -s "$PWD/$target" "$place"
    done < "$npmLinksPath"
    runHook postConfigure
  '';
  buildPhase = ''
    runHook preBuild
    node scripts/build.ts --out dist ${program}
    runHook postBuild
  '';
  installPhase = ''
    runHook preInstall
    mkdir -p $out/lib/crystal-forge/dist $out/bin
    cp -r dist/${program} $out/lib/crystal-forge/dist/
    ${lib.concatMapStrings (file: "cp -r ${file} $out/lib/crystal-forge/\n") files}
    makeWrapper ${nodejs-slim_24}/bin/node $out/bin/${pname} \
      --add-flags "${lib.concatStringsSep " " (nodeFlags ++ [ "$out/lib/crystal-forge/dist/${program}/main.mjs" ])}" \
      ${lib.optionalString (path != [ ]) "--suffix PATH : ${lib.makeBinPath path}"} \
      ${lib.concatStringsSep " " (lib.mapAttrsToList (name: value: "--set-default ${name} ${lib.escapeShellArg value}") environment)}
    runHook postInstall
  '';
  doInstallCheck = true;
  installCheckPhase = ''
    runHook preInstallCheck
    HOME=$TMPDIR $out/bin/${pname} --version
    runHook postInstallCheck
  '';
  meta = { inherit description; mainProgram = pname; license = lib.licenses.asl20; platforms = [ "x86_64-linux" "aarch64-linux" ]; };
}
