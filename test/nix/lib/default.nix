# The part of nixpkgs' lib that our modules use, written for the tests: module evaluation without nixpkgs. `npm run test:nix` runs
# the same tests with the real lib and the real modules, which is what keeps this honest.
let
  self = lists // strings // attrs // properties // {
    inherit (builtins) head tail length elem elemAt filter map isAttrs isList isString isBool isInt isFunction attrNames attrValues
      toJSON concatLists concatMap stringLength genList all any seq deepSeq trace;
    types = import ./types.nix { lib = self; };
    evalModules = import ./modules.nix { lib = self; };
    modules = { defaultOverridePriority = 100; };
    isOption = value: builtins.isAttrs value && value._type or "" == "option";
    isDerivation = value: builtins.isAttrs value && value.type or "" == "derivation";
    getName = value: value.pname or (builtins.parseDrvName value.name).name;
    literalExpression = text: { _type = "literalExpression"; inherit text; };
    gvariant.mkUint32 = value: { _type = "gvariant"; type = "u"; inherit value; __toString = one: "uint32 ${toString one.value}"; };
    id = value: value;
    mod = a: b: a - b * (a / b);
    min = a: b: if a < b then a else b;
    toLower = builtins.replaceStrings upper lower;
    boolToString = value: if value then "true" else "false";
    toIntBase10 = text: builtins.fromJSON text;
    showOption = path: self.concatMapStringsSep "." (part:
      if builtins.match "[A-Za-z_][A-Za-z0-9_'-]*" part != null || part == "*" || builtins.match "<.*>" part != null then part
      else builtins.toJSON part) path;
    versionAtLeast = have: want: builtins.compareVersions have want >= 0;
    generators = import ./generators.nix { lib = self; };
    fileset = import ./fileset.nix { lib = self; };
    importJSON = path: builtins.fromJSON (builtins.readFile path);
    licenses.asl20 = { spdxId = "Apache-2.0"; };
    escapeShellArg = value: "'${builtins.replaceStrings [ "'" ] [ "'\\''" ] (toString value)}'";
    escapeShellArgs = values: self.concatMapStringsSep " " self.escapeShellArg values;
    getExe = package: "${package}/bin/${package.meta.mainProgram or (self.getName package)}";
    getExe' = package: name: "${package}/bin/${name}";
    makeBinPath = packages: self.concatMapStringsSep ":" (package: "${package}/bin") packages;
    warn = message: value: builtins.trace "warning: ${message}" value;
  };

  upper = self.stringToCharacters "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
  lower = self.stringToCharacters "abcdefghijklmnopqrstuvwxyz";

  lists = {
    foldl' = builtins.foldl';
    last = list: builtins.elemAt list (builtins.length list - 1);
    init = list: builtins.genList (builtins.elemAt list) (builtins.length list - 1);
    drop = count: list: builtins.genList (at: builtins.elemAt list (at + count)) (let rest = builtins.length list - count; in if rest > 0 then rest else 0);
    take = count: list: builtins.genList (builtins.elemAt list) (self.min count (builtins.length list));
    optional = condition: value: if condition then [ value ] else [ ];
    optionals = condition: values: if condition then values else [ ];
    toList = value: if builtins.isList value then value else [ value ];
    unique = builtins.foldl' (seen: one: if builtins.elem one seen then seen else seen ++ [ one ]) [ ];
    findFirst = predicate: default: list: let found = builtins.filter predicate list; in if found == [ ] then default else builtins.head found;
    subtractLists = remove: builtins.filter (one: !builtins.elem one remove);
    zipListsWith = f: a: b: builtins.genList (at: f (builtins.elemAt a at) (builtins.elemAt b at)) (self.min (builtins.length a) (builtins.length b));
    flatten = value: if builtins.isList value then builtins.concatMap self.flatten value else [ value ];
    count = predicate: list: builtins.length (builtins.filter predicate list);
    sort = builtins.sort;
    reverseList = list: builtins.genList (at: builtins.elemAt list (builtins.length list - 1 - at)) (builtins.length list);
    sortOn = key: builtins.sort (a: b: key a < key b);
    groupBy = builtins.groupBy;
    imap0 = f: list: builtins.genList (at: f at (builtins.elemAt list at)) (builtins.length list);
    remove = value: builtins.filter (one: one != value);
    range = from: to: if to < from then [ ] else builtins.genList (at: from + at) (to - from + 1);
    intersectLists = keep: builtins.filter (one: builtins.elem one keep);
  };

  strings = {
    inherit (builtins) substring replaceStrings concatStringsSep;
    concatStrings = builtins.concatStringsSep "";
    concatMapStrings = f: list: builtins.concatStringsSep "" (map f list);
    concatMapStringsSep = separator: f: list: builtins.concatStringsSep separator (map f list);
    optionalString = condition: text: if condition then text else "";
    hasPrefix = prefix: text: builtins.substring 0 (builtins.stringLength prefix) text == prefix;
    hasSuffix = suffix: text:
      let at = builtins.stringLength text - builtins.stringLength suffix; in
      at >= 0 && builtins.substring at (-1) text == suffix;
    hasInfix = infix: text: builtins.length (self.splitString infix text) > 1;
    removePrefix = prefix: text: if self.hasPrefix prefix text then builtins.substring (builtins.stringLength prefix) (-1) text else text;
    removeSuffix = suffix: text:
      if self.hasSuffix suffix text then builtins.substring 0 (builtins.stringLength text - builtins.stringLength suffix) text else text;
    splitString = separator: text:
      builtins.filter builtins.isString (builtins.split (self.escapeRegex separator) (toString text));
    escapeRegex = builtins.replaceStrings (self.stringToCharacters "\\[{()^$?*+|.") (map (one: "\\${one}") (self.stringToCharacters "\\[{()^$?*+|."));
    stringToCharacters = text: builtins.genList (at: builtins.substring at 1 text) (builtins.stringLength text);
    trim = text: let parts = builtins.match "[ \t\r\n]*(.*[^ \t\r\n])[ \t\r\n]*" text; in if parts == null then "" else builtins.head parts;
    toUpper = builtins.replaceStrings lower upper;
  };

  attrs = {
    mapAttrs = builtins.mapAttrs;
    genAttrs = names: f: builtins.listToAttrs (map (name: { inherit name; value = f name; }) names);
    listToAttrs = builtins.listToAttrs;
    nameValuePair = name: value: { inherit name value; };
    mapAttrs' = f: set: builtins.listToAttrs (map (name: f name set.${name}) (builtins.attrNames set));
    mapAttrsToList = f: set: map (name: f name set.${name}) (builtins.attrNames set);
    filterAttrs = keep: set: removeAttrs set (builtins.filter (name: !keep name set.${name}) (builtins.attrNames set));
    optionalAttrs = condition: set: if condition then set else { };
    attrByPath = path: default: set:
      if path == [ ] then set
      else if builtins.isAttrs set && set ? ${builtins.head path} then self.attrByPath (builtins.tail path) default set.${builtins.head path}
      else default;
    hasAttrByPath = path: set:
      path == [ ] || builtins.isAttrs set && set ? ${builtins.head path} && self.hasAttrByPath (builtins.tail path) set.${builtins.head path};
    setAttrByPath = path: value: if path == [ ] then value else { ${builtins.head path} = self.setAttrByPath (builtins.tail path) value; };
    recursiveUpdate = a: b:
      a // builtins.mapAttrs (name: value: if builtins.isAttrs value && builtins.isAttrs (a.${name} or null) then self.recursiveUpdate a.${name} value else value) b;
    getAttrs = names: set: self.genAttrs names (name: set.${name});
    mergeAttrsList = builtins.foldl' (all: one: all // one) { };
  };

  properties = rec {
    mkOption = set: { _type = "option"; } // set;
    mkEnableOption = name: mkOption { type = self.types.bool; default = false; example = true; description = "Whether to enable ${name}."; };
    mkIf = condition: content: { _type = "if"; inherit condition content; };
    mkMerge = contents: { _type = "merge"; inherit contents; };
    mkOverride = priority: content: { _type = "override"; inherit priority content; };
    mkOptionDefault = mkOverride 1500;
    mkDefault = mkOverride 1000;
    mkForce = mkOverride 50;
    mkVMOverride = mkOverride 10;
    mkOrder = priority: content: { _type = "order"; inherit priority content; };
    mkBefore = mkOrder 500;
    mkAfter = mkOrder 1500;
  };
in
self
