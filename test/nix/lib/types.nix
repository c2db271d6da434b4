# Types of options: check says whether a definition may be, merge makes one value of several.
{ lib }:
let
  inherit (lib.evalModules) mergeDefinitions;
  conflict = loc: definitions:
    throw "The option `${lib.showOption loc}' has conflicting definition values: in ${lib.concatMapStringsSep ", in " (one: one.file) definitions}";
  mergeEqual = loc: definitions:
    let first = (lib.head definitions).value; in
    if lib.all (one: one.value == first) definitions then first else conflict loc definitions;
  mergeOne = loc: definitions: if builtins.length definitions == 1 then (lib.head definitions).value else conflict loc definitions;

  type = { name, check, merge ? mergeEqual, description ? name, ... }@set: set // { _type = "option-type"; inherit name check merge description; };
  isText = value: builtins.isString value || builtins.isAttrs value && (value ? outPath || value ? __toString);

  self = rec {
    raw = type { name = "raw"; check = _: true; merge = mergeOne; };
    unspecified = type { name = "unspecified"; check = _: true; };
    anything = type {
      name = "anything";
      check = _: true;
      merge = loc: definitions:
        if lib.all (one: builtins.isAttrs one.value && !lib.isDerivation one.value) definitions then (attrsOf anything).merge loc definitions
        else mergeEqual loc definitions;
    };
    bool = type { name = "bool"; check = builtins.isBool; description = "boolean"; };
    int = type { name = "int"; check = builtins.isInt; description = "signed integer"; };
    float = type { name = "float"; check = builtins.isFloat; };
    str = type { name = "str"; check = builtins.isString; description = "string"; };
    singleLineStr = str;
    path = type { name = "path"; check = value: builtins.isPath value || isText value && lib.hasPrefix "/" (toString value); description = "absolute path"; };
    package = type { name = "package"; check = value: lib.isDerivation value || builtins.isString value; };
    attrs = type { name = "attrs"; check = builtins.isAttrs; merge = _: builtins.foldl' (all: one: all // one.value) { }; };
    port = ints.between 0 65535 // { description = "16 bit unsigned integer; between 0 and 65535 (both inclusive)"; };
    ints = {
      between = low: high: type { name = "int"; check = value: builtins.isInt value && low <= value && value <= high; description = "integer between ${toString low} and ${toString high} (both inclusive)"; };
      unsigned = type { name = "int"; check = value: builtins.isInt value && value >= 0; description = "unsigned integer, meaning >=0"; };
      positive = type { name = "int"; check = value: builtins.isInt value && value > 0; description = "positive integer, meaning >0"; };
    };
    enum = values: type {
      name = "enum";
      check = value: builtins.elem value values;
      description = if values == [ ] then "impossible (empty enum)" else "one of ${lib.concatMapStringsSep ", " builtins.toJSON values}";
    };
    strMatching = pattern: type { name = "str"; check = value: builtins.isString value && builtins.match pattern value != null; description = "string matching the pattern ${pattern}"; };
    separatedString = separator: type {
      name = "separatedString";
      check = builtins.isString;
      description = if separator == "\n" then "strings concatenated with \"\\n\"" else "strings concatenated with ${builtins.toJSON separator}";
      merge = _: definitions: lib.concatMapStringsSep separator (one: one.value) definitions;
    };
    lines = separatedString "\n";
    commas = separatedString ",";
    nullOr = inner: type {
      name = "nullOr";
      check = value: value == null || inner.check value;
      description = "null or ${inner.description}";
      merge = loc: definitions:
        if lib.all (one: one.value == null) definitions then null
        else if lib.any (one: one.value == null) definitions then conflict loc definitions
        else inner.merge loc definitions;
      inherit inner;
    };
    either = a: b: type {
      name = "either";
      check = value: a.check value || b.check value;
      description = "${a.description} or ${b.description}";
      merge = loc: definitions:
        if lib.all (one: a.check one.value) definitions then a.merge loc definitions
        else if lib.all (one: b.check one.value) definitions then b.merge loc definitions
        else mergeEqual loc definitions;
    };
    oneOf = kinds: builtins.foldl' either (lib.head kinds) (lib.tail kinds);
    uniq = inner: inner // { merge = mergeOne; };
    listOf = inner: type {
      name = "listOf";
      check = builtins.isList;
      description = "list of ${inner.description}";
      inherit inner;
      merge = loc: definitions: lib.concatMap
        (one: lib.concatMap
          (element: let merged = mergeDefinitions (loc ++ [ "*" ]) inner [{ inherit (one) file; value = element; }]; in lib.optional merged.isDefined merged.value)
          one.value)
        definitions;
      emptyValue = [ ];
    };
    nonEmptyListOf = listOf;
    attrsOf = attrsWith true;
    lazyAttrsOf = attrsWith false;
    attrsWith = strict: inner: type {
      name = "attrsOf";
      check = builtins.isAttrs;
      description = "attribute set of ${inner.description}";
      inherit inner;
      emptyValue = { };
      merge = loc: definitions:
        let
          names = lib.unique (lib.concatMap (one: builtins.attrNames one.value) definitions);
          merged = lib.genAttrs names (name: mergeDefinitions (loc ++ [ name ]) inner
            (lib.concatMap (one: lib.optional (one.value ? ${name}) { inherit (one) file; value = one.value.${name}; }) definitions));
        in
        builtins.mapAttrs (_: one: one.value) (if strict then lib.filterAttrs (_: one: one.isDefined) merged else merged);
    };
    submodule = modules: submoduleWith { modules = lib.toList modules; };
    submoduleWith = { modules, specialArgs ? { }, ... }: type {
      name = "submodule";
      check = value: builtins.isAttrs value || builtins.isFunction value || builtins.isPath value;
      description = "(submodule)";
      submodules = modules;
      merge = loc: definitions: (lib.evalModules {
        modules = modules ++ map
          (one: if builtins.isAttrs one.value then { _file = one.file; config = one.value; } else one.value)
          definitions;
        specialArgs = specialArgs // { name = lib.last loc; };
        prefix = loc;
      }).config;
    };
  };
in
self
