# What is done to a value before it is compared. The same as packages/control-plane/src/controls/normalise.ts: the vectors of
# catalogue/operators.json run in both. Every function answers { ok = true; value; } or { ok = false; because; }.
{ lib }:
let
  ok = value: { ok = true; inherit value; };
  no = because: { ok = false; inherit because; };
  show = value: if builtins.isString value then builtins.toJSON value else "a ${builtins.typeOf value}";

  words = text: lib.filter (part: builtins.isString part && part != "") (builtins.split "[ \t\r\n]+" text);
  fold = text: lib.concatStringsSep " " (words text);
  sorted = builtins.sort builtins.lessThan;

  # Applies `read` (text -> value or null) to a text and to each text of a list.
  each = { read, what, numbers ? false }: value:
    if builtins.isList value then
      let
        parts = map (each { inherit read what numbers; }) value;
        failed = lib.filter (part: !part.ok) parts;
      in
      if failed != [ ] then lib.head failed else ok (map (part: part.value) parts)
    else if numbers && (builtins.isInt value || builtins.isFloat value) then ok value
    else
      let parsed = if builtins.isString value then read value else null; in
      if parsed == null then no "${show value} is not ${what}" else ok parsed;

  digits = text: builtins.fromJSON (lib.head (builtins.match "0*([0-9]+)" text));
  toInt = text:
    let parts = builtins.match "([+-]?)([0-9]{1,15})" text; in
    if parts == null then null
    else (if lib.elemAt parts 0 == "-" then -1 else 1) * digits (lib.elemAt parts 1);
  toOctal = text:
    if builtins.match "[0-7]{1,8}" text == null then null
    else lib.foldl' (sum: digit: sum * 8 + digits digit) 0 (lib.stringToCharacters text);

  units = {
    "" = 1;
    s = 1; sec = 1; second = 1; seconds = 1;
    m = 60; min = 60; minute = 60; minutes = 60;
    h = 3600; hr = 3600; hour = 3600; hours = 3600;
    d = 86400; day = 86400; days = 86400;
    w = 604800; week = 604800; weeks = 604800;
  };
  # Time spans of systemd down to the second: `90`, `10min`, `1h 30m`, `10 min`.
  toSeconds = text:
    let
      tokens = lib.filter builtins.isList (builtins.split "([0-9]+) *([a-z]*)" (fold text));
      rest = lib.concatStrings (map (lib.replaceStrings [ " " ] [ "" ])
        (lib.filter builtins.isString (builtins.split "([0-9]+) *([a-z]*)" (fold text))));
      known = lib.all (token: builtins.stringLength (lib.head token) <= 9 && units ? ${lib.elemAt token 1}) tokens;
    in
    if tokens == [ ] || rest != "" || !known then null
    else lib.foldl' (sum: token: sum + digits (lib.head token) * units.${lib.elemAt token 1}) 0 tokens;

  linesOf = read: value:
    let
      texts = if builtins.isList value then value else [ value ];
      strangers = lib.filter (text: !builtins.isString text) texts;
      lines = lib.concatMap (text: map fold (lib.splitString "\n" text)) texts;
    in
    if strangers != [ ] then no "${show (lib.head strangers)} is not a text"
    else ok (map read (lib.filter (line: line != "" && !lib.hasPrefix "#" line) lines));

  # Key and value of a line, or null: `key = value`, `key=value`, `key value`.
  assignment = line:
    let parts = builtins.match (if lib.hasInfix "=" line then "([^=]*)=(.*)" else "([^ ]*)(.*)") line; in
    if lib.hasPrefix ";" line || lib.hasPrefix "[" line || parts == null then null
    else { key = fold (lib.elemAt parts 0); value = unquote (fold (lib.elemAt parts 1)); };
  unquote = text:
    let inner = builtins.match "\"(.*)\"" text; in if inner == null then text else lib.head inner;

  keyValue = arg: value:
    let
      lines = linesOf (line: line) value;
      found = lib.filter (one: one != null && one.key == arg) (map assignment lines.value);
    in
    if arg == null then no "no key is named"
    else if !lines.ok then lines
    else if found == [ ] then no "the key ${arg} is not set"
    else ok (lib.last found).value;

  # Every value that is given to a key, whatever the case of its letters; `key value` or `key=value`.
  valuesOf = key: line:
    let parts = builtins.match "([^ =]+)( ?= ?| )(.*)" line; in
    if parts != null && lib.toLower (lib.head parts) == lib.toLower key then [ (unquote (lib.elemAt parts 2)) ] else [ ];

  # Entries of security.pam.loginLimits as lines that `kv` reads; `-` is both kinds.
  limits = value:
    if limitEntries value == null then no "not a list of limits"
    else ok (lib.concatMap
      (one: map (type: "${one.domain} ${type} ${one.item}=${one.limit}") (if one.type == "-" then [ "soft" "hard" ] else [ one.type ]))
      (limitEntries value));

  # What is the hard limit of an item, for whomever, of each the last; none is -1.
  limitValues = item: value:
    let
      hard = lib.filter (one: one.item == item && one.type != "soft") (limitEntries value);
      domains = lib.unique (map (one: one.domain) hard);
      values = map (domain: (lib.last (lib.filter (one: one.domain == domain) hard)).limit) domains;
    in
    if limitEntries value == null then no "not a list of limits"
    else if values == [ ] then no "${item} is not set"
    else ok (map (limit: if lib.elem limit [ "unlimited" "infinity" ] then "-1" else limit) values);

  # The option is a list of entries; a host shows `domain type item` and its value.
  limitEntries = value:
    if builtins.isAttrs value then
      lib.mapAttrsToList
        (name: limit:
          let at = position: let parts = lib.splitString " " name; in if position < builtins.length parts then lib.elemAt parts position else ""; in
          { domain = at 0; type = at 1; item = at 2; limit = toString limit; })
        value
    else if !builtins.isList value || !lib.all builtins.isAttrs value then null
    else map (one: { inherit (one) domain type item; limit = toString one.value; }) value;

  inherit (import ./audit-rules.nix { inherit lib words; }) auditRule effective;
  inherit (import ./pam-lines.nix { inherit lib words fold; }) pamLine pamModule pamControl pamArguments;
  inherit (import ./sudoers-lines.nix { inherit lib fold; }) sudoDefault sudoWithoutPassword onlyDefaults;

  # A list is what is recorded under all of its rules together.
  auditRules = value:
    let single = each { read = auditRule; what = "an audit rule"; } value; in
    if single.ok && builtins.isList value then ok (effective (lib.filter builtins.isString value)) else single;

  withArg = arg: read: if arg == null then no "no key is named" else read;
  # What `read` finds in the lines of a text or of a list of them; null is nothing.
  found = what: read: value:
    let
      lines = linesOf (line: line) value;
      values = read lines.value;
    in
    if !lines.ok then lines else if values == null then no "${what} is not set" else ok values;

  apply = arg: name: value: {
    text = each { read = fold; what = "a text"; } value;
    int = each { read = toInt; what = "a whole number"; numbers = true; } value;
    octal = each { read = toOctal; what = "an octal number"; } value;
    seconds = each { read = toSeconds; what = "a time span"; numbers = true; } value;
    audit-rule = auditRules value;
    lines = linesOf (line: line) value;
    pam = linesOf pamLine value;
    pam-module = linesOf pamModule value;
    pam-control = linesOf pamControl value;
    pam-args = withArg arg (found arg (lines: pamArguments lines arg) value);
    kv = keyValue arg value;
    kv-all = withArg arg (found arg (lib.concatMap (valuesOf arg)) value);
    limits = limits value;
    limit-values = withArg arg (limitValues arg value);
    sudo-default = withArg arg (found arg (lines: sudoDefault lines arg) value);
    sudo-without-password = found "" sudoWithoutPassword value;
  }.${name};
in
{
  normalise = names: arg: value:
    lib.foldl' (current: name: if current.ok then apply arg name current.value else current) (ok value) names;

  # A file shortened to the lines that count: a report needs them and must not carry what else the file holds.
  shorten = names: arg: value:
    let
      lines = linesOf (line: line) value;
      reads = name: lib.elem name names;
    in
    if !lines.ok || arg == null && !reads "sudo-without-password" then value
    else if reads "kv" && !reads "limits" then lib.filter (line: let one = assignment line; in one != null && one.key == arg) lines.value
    else if reads "kv-all" then lib.filter (line: valuesOf arg line != [ ]) lines.value
    else if reads "sudo-default" then onlyDefaults arg lines.value
    else if reads "sudo-without-password" then sudoWithoutPassword lines.value
    else value;

  inherit auditRule;
}
