# What a set of workspaces needs at run time, read from package-lock.json, for one platform: packages of the registry with the place
# where Node looks for them, and our own workspaces. Development packages are not followed, and neither are those of other platforms.
{ lib, os, cpu }:
roots:
let
  packages = (lib.importJSON ../../package-lock.json).packages;

  # Node looks in the node_modules of the directory of who asks, then in its parent's, up to the top.
  find = from: name:
    let
      parts = if from == "" then [ ] else lib.splitString "/" from;
      above = map (count: lib.take count parts) (lib.range 0 (lib.length parts));
      places = map (directory: lib.concatStringsSep "/" (directory ++ [ "node_modules" name ])) (lib.reverseList above);
    in
    lib.findFirst (place: packages ? ${place}) null places;

  runs = entry: lib.elem os (entry.os or [ os ]) && lib.elem cpu (entry.cpu or [ cpu ]);
  needs = place:
    let
      entry = packages.${place};
      required = lib.attrNames (entry.dependencies or { });
      peers = lib.filter (name: !(entry.peerDependenciesMeta.${name}.optional or false)) (lib.attrNames (entry.peerDependencies or { }));
      optional = lib.attrNames (entry.optionalDependencies or { }) ++ peers;
      found = name: let at = find place name; in
        if at != null then [ at ]
        else if lib.elem name required then throw "package-lock.json names no package ${name}, which ${place} needs: run npm install"
        else [ ];
    in
    if entry.link or false then [ entry.resolved ] else lib.concatMap found (required ++ optional);

  places = map (step: step.key) (builtins.genericClosure {
    startSet = map (key: { inherit key; }) roots;
    operator = { key }: map (key: { inherit key; }) (lib.filter (place: runs packages.${place}) (needs key));
  });
  installed = lib.filter (lib.hasInfix "node_modules/") places;
in
{
  # Who lies in the tarball of another has no integrity of its own.
  registry = map
    (place: {
      inherit place;
      inherit (packages.${place}) version integrity;
      name = packages.${place}.name or (lib.last (lib.splitString "node_modules/" place));
    })
    (lib.filter (place: packages.${place} ? integrity) installed);
  links = map (place: { inherit place; target = packages.${place}.resolved; }) (lib.filter (place: packages.${place}.link or false) installed);
  workspaces = lib.filter (place: !lib.hasInfix "node_modules/" place) places;
}
