# Reads what the final, merged configuration says at a path, in a form that JSON can carry, and who defined it.
{ lib, config, options }:
let
  # Files inside of a flake are named relative to it, those of this project with its name before them.
  ownRoot = toString ../..;
  fileName = file:
    let
      # Only the name is wanted: with its context the report would drag the sources into the closure.
      text = builtins.unsafeDiscardStringContext (toString file);
      inStore = builtins.match "/nix/store/[^/]+/(.*)" text;
    in
    if lib.hasPrefix "${ownRoot}/" text then "crystal-forge:${lib.removePrefix "${ownRoot}/" text}"
    else if inStore != null then lib.head inStore
    else text;

  # Packages become their names; functions have no value that could be told.
  plain = value:
    if lib.isDerivation value then builtins.unsafeDiscardStringContext (lib.getName value)
    else if builtins.isPath value then builtins.unsafeDiscardStringContext (toString value)
    else if builtins.isString value then builtins.unsafeDiscardStringContext value
    else if builtins.isList value then map plain value
    else if builtins.isFunction value then null
    else if builtins.isAttrs value then
      if value._type or null == "gvariant" then plain value.value
      else lib.mapAttrs (_: plain) (lib.filterAttrs (_: part: !builtins.isFunction part) value)
    else value;

  missing = { };
  # `*` stands for every element of a list; elements that lack the rest of the path are left out.
  walk = key: value:
    if key == [ ] then { inherit value; }
    else if lib.head key == "*" then
      if !builtins.isList value then missing
      else
        let parts = lib.filter (part: part ? value) (map (walk (lib.tail key)) value); in
        { value = lib.concatMap (part: lib.toList part.value) parts; }
    else if builtins.isAttrs value && value ? ${lib.head key} then walk (lib.tail key) value.${lib.head key}
    else missing;

  # The text of a file below /etc is what its source holds: a text that another source replaced is installed nowhere.
  etcText = name:
    let file = config.environment.etc.${name}; in
    if !(config.environment.etc ? ${name}) || !file.enable then missing
    else if file.source.text or null != null then { value = file.source.text; }
    else missing;

  # The option on the way of a path, and what of the path lies inside its value: some options are one value in one release of
  # nixpkgs and several in another.
  locate = { option, key ? [ ], ... }:
    let
      go = seen: rest: node:
        if lib.isOption node then { option = seen; key = rest; declared = node; }
        else if rest == [ ] || !(builtins.isAttrs node) || !(node ? ${lib.head rest}) then null
        else go (seen ++ [ (lib.head rest) ]) (lib.tail rest) node.${lib.head rest};
    in
    go [ ] (option ++ key) options;

  isEtcText = { option, key, ... }: option == [ "environment" "etc" ] && builtins.length key == 2 && lib.last key == "text";

  # Priorities of the definitions inside of one definition's value, at the rest of the path.
  prioritiesAt = key: priority: value:
    if builtins.isAttrs value && value ? _type then
      if value._type == "merge" then lib.concatMap (prioritiesAt key priority) value.contents
      else if value._type == "if" then (if value.condition then prioritiesAt key priority value.content else [ ])
      else if value._type == "override" then prioritiesAt key value.priority value.content
      else if value._type == "order" then prioritiesAt key priority value.content
      else if key == [ ] then [ priority ] else [ ]
    else if key == [ ] || lib.head key == "*" then [ priority ]
    else if builtins.isAttrs value && value ? ${lib.head key} then prioritiesAt (lib.tail key) priority value.${lib.head key}
    else [ ];

  # Files of the definitions that survived: those with the lowest priority at the path. What the value's own module computes has
  # none; then those of the nearest value around it.
  definers = at:
    let
      inherit (locate at) option key declared;
      prioritised = keys: lib.concatMap
        (definition: map (priority: { inherit (definition) file; inherit priority; })
          (lib.concatMap (one: prioritiesAt one lib.modules.defaultOverridePriority definition.value) keys))
        declared.definitionsWithLocations;
      around = keys: inner:
        let here = prioritised keys; in
        if here != [ ] && inner != [ ] || key == [ ] then here
        # Around the whole option only one definition can be the one that left the value out.
        else if inner == [ ] then (if builtins.length here == 1 then here else [ ])
        else around [ (lib.init inner) ] (lib.init inner);
      here = around (if isEtcText { inherit option key; } then [ key (lib.init key ++ [ "source" ]) ] else [ key ]) key;
      lowest = lib.foldl' (least: one: if one.priority < least then one.priority else least) 9999 here;
      winners = lib.filter (one: one.priority == lowest) here;
    in
    lib.unique (map (winner: fileName winner.file) winners);

  attempt = value:
    let tried = builtins.tryEval (builtins.deepSeq value value); in
    if tried.success then { ok = true; inherit (tried) value; } else { ok = false; };
in
rec {
  showPath = { option, key ? [ ], ... }: lib.showOption (option ++ key);

  exists = at: locate at != null;

  # { value } when the configuration says something there, { } when it does not or when reading fails.
  read = at:
    let
      inherit (locate at) option key;
      raw =
        if isEtcText { inherit option key; } then etcText (lib.head key)
        else walk key (lib.attrByPath option null config);
      found = attempt (if raw ? value then { value = plain raw.value; } else missing);
    in
    if found.ok then found.value else missing;

  definedIn = at:
    let found = attempt (definers at); in
    map (file: "${file}:${showPath at}") (if found.ok then found.value else [ ]);

  # A path of the configuration that need not be an option's.
  fact = path: attempt (plain (lib.attrByPath path null config));

  inherit plain;
}
