# Merging of modules: imports, options, priorities, order, freeform values. { modules, specialArgs?, prefix? } -> { config, options }
{ lib }:
let
  evalModules = { modules, specialArgs ? { }, prefix ? [ ] }:
    let
      args = specialArgs // { inherit lib config options; };
      all = collect args modules;
      freeform = lib.findFirst (type: type != null) null (map (module: module.freeformType) all);
      definitions = lib.concatMap (module: map (value: { inherit (module) file; inherit value; }) (pushDown module.config)) all;
      result = evalTree prefix (mergeDeclarations (map (module: module.options) all)) definitions;
      stray = result.stray;
      freeConfig =
        if stray == [ ] then { }
        else if freeform != null then (mergeDefinitions prefix freeform (map (one: { inherit (one) file value; }) stray)).value
        else
          throw "The option `${lib.showOption (lib.head stray).path}' does not exist. Definition in ${(lib.head stray).file}";
      options = result.options;
      # Options come first so that their names never depend on a value.
      config = lib.recursiveUpdate freeConfig result.config;
    in
    { inherit config options; };

  collect = args: modules:
    let
      items = builtins.genericClosure {
        startSet = lib.zipListsWith (module: at: load args "<module ${toString at}>" module) modules (lib.range 1 (builtins.length modules));
        operator = item: lib.zipListsWith (module: at: load args "${item.key}:${toString at}" module) item.imports (lib.range 1 (builtins.length item.imports));
      };
    in
    items;

  load = args: anonymous: module:
    let
      isPath = builtins.isPath module || builtins.isString module;
      loaded = if isPath then import module else module;
      set = if builtins.isFunction loaded then loaded args else loaded;
      structured = set ? config || set ? options;
    in
    {
      key = if isPath then toString module else set.key or anonymous;
      file = set._file or (if isPath then toString module else anonymous);
      imports = set.imports or [ ];
      options = set.options or { };
      freeformType = set.freeformType or null;
      config = if structured then set.config or { } else removeAttrs set [ "imports" "_file" "key" "freeformType" ];
    };

  # Properties around an attribute set are moved to its values, so that its names can be known without them.
  pushDown = value:
    if value._type or "" == "merge" then lib.concatMap pushDown value.contents
    else if value._type or "" == "if" then map (builtins.mapAttrs (_: lib.mkIf value.condition)) (pushDown value.content)
    else if value._type or "" == "override" then map (builtins.mapAttrs (_: lib.mkOverride value.priority)) (pushDown value.content)
    else [ value ];

  mergeDeclarations = builtins.foldl' mergeTwo { };
  mergeTwo = a: b:
    a // builtins.mapAttrs
      (name: value: if a ? ${name} && !lib.isOption value && !lib.isOption a.${name} then mergeTwo a.${name} value else value)
      b;

  evalTree = path: declarations: definitions:
    let
      below = name: lib.concatMap
        (one: lib.optional (one.value ? ${name}) { inherit (one) file; value = one.value.${name}; })
        definitions;
      children = builtins.mapAttrs
        (name: declared:
          if lib.isOption declared then
            let option = evalOption (path ++ [ name ]) declared (below name); in
            { config = option.value; options = option; stray = [ ]; }
          else
            evalTree (path ++ [ name ]) declared
              (lib.concatMap (one: map (value: { inherit (one) file; inherit value; }) (pushDown one.value)) (below name)))
        declarations;
      own = lib.concatMap
        (one:
          let unknown = lib.subtractLists (builtins.attrNames declarations) (builtins.attrNames one.value); in
          lib.optional (unknown != [ ]) { inherit (one) file; path = path ++ [ (lib.head unknown) ]; value = lib.genAttrs unknown (name: one.value.${name}); })
        definitions;
      # Values of an unknown name below a known one keep their path.
      under = lib.concatLists (lib.mapAttrsToList
        (name: child: map (one: one // { value = { ${name} = one.value; }; }) child.stray) children);
    in
    {
      config = builtins.mapAttrs (_: child: child.config) children;
      options = builtins.mapAttrs (_: child: child.options) children;
      stray = own ++ under;
    };

  evalOption = loc: declared: definitions:
    let
      withDefault = definitions ++ lib.optional (declared ? default) { file = "<default>"; value = lib.mkOptionDefault declared.default; };
      merged = mergeDefinitions loc (declared.type or lib.types.unspecified) withDefault;
      writers = builtins.length definitions;
      value =
        if declared.readOnly or false && writers > 1 then throw "The option `${lib.showOption loc}' is read-only, but it's set multiple times."
        else (declared.apply or lib.id) merged.value;
    in
    declared // {
      inherit loc value;
      inherit (merged) isDefined highestPrio definitionsWithLocations;
      files = map (one: one.file) merged.definitionsWithLocations;
      definitions = map (one: one.value) merged.definitionsWithLocations;
    };

  # Conditions, priorities and order of the definitions of one value; then the type merges what is left.
  mergeDefinitions = loc: type: definitions:
    let
      discharged = lib.concatMap (one: map (value: { inherit (one) file; inherit value; }) (discharge one.value)) definitions;
      priority = one: if one.value._type or "" == "override" then one.value.priority else lib.modules.defaultOverridePriority;
      typed = map (one: if builtins.isAttrs one.value then one else one // { plain = true; }) discharged;
      priorityOf = one: if one.plain or false then lib.modules.defaultOverridePriority else priority one;
      highestPrio = builtins.foldl' (least: one: lib.min least (priorityOf one)) 9999 typed;
      strip = one: if priorityOf one == highestPrio && builtins.isAttrs one.value && one.value._type or "" == "override" then one.value.content else one.value;
      winners = map (one: { inherit (one) file; value = strip one; }) (builtins.filter (one: priorityOf one == highestPrio) typed);
      order = one: if builtins.isAttrs one.value && one.value._type or "" == "order" then one.value.priority else 1000;
      ordered = map (one: { inherit (one) file; value = if builtins.isAttrs one.value && one.value._type or "" == "order" then one.value.content else one.value; })
        (builtins.sort (a: b: order a < order b) winners);
      wrong = builtins.filter (one: !type.check one.value) ordered;
      isDefined = ordered != [ ];
    in
    {
      inherit isDefined highestPrio;
      definitionsWithLocations = ordered;
      value =
        if !isDefined then type.emptyValue or (throw "The option `${lib.showOption loc}' was accessed but has no value defined. Try setting the option.")
        else if wrong != [ ] then
          throw "A definition for option `${lib.showOption loc}' is not of type `${type.description}'. In ${(lib.head wrong).file}"
        else type.merge loc ordered;
    };

  discharge = value:
    if !builtins.isAttrs value then [ value ]
    else if value._type or "" == "merge" then lib.concatMap discharge value.contents
    else if value._type or "" == "if" then (if value.condition then discharge value.content else [ ])
    # A property inside of an override or an order: the outer one holds for each.
    else if value._type or "" == "override" && isProperty value.content then map (content: value // { inherit content; }) (discharge value.content)
    else [ value ];
  isProperty = value: builtins.isAttrs value && builtins.elem (value._type or "") [ "merge" "if" ];
in
{ inherit mergeDefinitions; __functor = _: evalModules; }
