# The catalogue as Nix sees it: the same files that TypeScript reads, and the same digest over their bytes.
{ lib, root ? ../../catalogue, benchmark ? "anix" }:
let
  json = path: builtins.fromJSON (builtins.readFile (root + "/${path}"));

  # Paths of all files below `root`, relative to it.
  filesBelow = prefix: directory:
    lib.concatLists (lib.mapAttrsToList
      (name: type:
        if type == "directory" then filesBelow "${prefix}${name}/" (directory + "/${name}")
        else [ "${prefix}${name}" ])
      (builtins.readDir directory));

  ruleFiles = lib.filter (lib.hasSuffix ".json") (builtins.attrNames (builtins.readDir (root + "/${benchmark}/rules")));
in
rec {
  about = json "${benchmark}/benchmark.json";
  aliases = json "${benchmark}/aliases.json";
  vectors = json "operators.json";
  rules = lib.listToAttrs (map
    (file: { name = lib.removeSuffix ".json" file; value = json "${benchmark}/rules/${file}"; })
    ruleFiles);

  # sha256 over the lines "<sha256 of the file>  <path>\n", sorted by the bytes of the path.
  sha256 = builtins.hashString "sha256" (lib.concatMapStrings
    (path: "${builtins.hashFile "sha256" (root + "/${path}")}  ${path}\n")
    (builtins.sort builtins.lessThan (filesBelow "" root)));

  # Rules of a release, without those that it removed.
  rulesOf = release: lib.filterAttrs (_: rule: lib.isAttrs (rule.releases.${release} or "removed")) rules;

  # Parameters of all rules by name; a parameter that several rules use is declared alike in each.
  params = lib.listToAttrs (lib.concatMap
    (rule: map (param: { inherit (param) name; value = param; }) rule.params)
    (lib.attrValues rules));

  inBaseline = baseline: rule:
    lib.elem rule.severity {
      off = [ ];
      cat1 = [ "high" ];
      cat2 = [ "high" "medium" ];
      all = [ "high" "medium" "low" ];
    }.${baseline};
}
