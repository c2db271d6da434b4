# lib.fileset, as far as our packages use it: a set is the list of its files, and a directory exists where a file lies below it.
{ lib }:
let
  below = predicate: path: builtins.concatLists (lib.mapAttrsToList
    (name: type: let at = path + "/${name}"; in if type == "directory" then below predicate at else lib.optional (predicate { inherit name type; hasExt = ext: lib.hasSuffix ".${ext}" name; }) at)
    (builtins.readDir path));
  coerce = value: if value ? files then value
    else if !builtins.pathExists value then throw "lib.fileset: ${toString value} does not exist"
    else { files = if typeOf value == "directory" then below (_: true) value else [ value ]; };
  # Nix 2.8 has no builtins.readFileType.
  typeOf = path: (builtins.readDir (dirOf path)).${baseNameOf path};
in
rec {
  unions = sets: { files = lib.concatMap (set: (coerce set).files) sets; };
  union = a: b: unions [ a b ];
  fileFilter = predicate: path: { files = below predicate path; };
  toSource = { root, fileset }:
    let
      files = map toString (coerce fileset).files;
      parents = path: if path == toString root then [ ] else [ path ] ++ parents (dirOf path);
      kept = lib.genAttrs (lib.concatMap parents files) (_: true);
    in
    { outPath = builtins.path { name = "source"; path = root; filter = path: _: kept ? ${path}; }; };
}
