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

  limits = value:
    if !builtins.isList value || !lib.all builtins.isAttrs value then no "not a list of limits"
    else ok (map (one: "${one.domain} ${one.type} ${one.item}=${toString one.value}") value);

  # The module without its directory, comments dropped, arguments in order of the alphabet.
  pamLine = line:
    let parsed = parsePamLine line; in
    if parsed == null then line
    else lib.concatStringsSep " " ([ parsed.type parsed.control parsed.module ] ++ parsed.args);
  # Kind and module alone: where a package lies, or how much a site demands of it, is not what such a rule is about.
  pamModule = line:
    let parsed = parsePamLine line; in
    if parsed == null then line else "${parsed.type} ${parsed.module}";
  parsePamLine = line:
    let
      parts = builtins.match "([^ ]+) (\\[[^]]*]|[^ ]+) ([^ ]+)(.*)" (fold (lib.head (lib.splitString "#" line)));
      at = lib.elemAt parts;
    in
    if parts == null then null
    else { type = at 0; control = at 1; module = lib.last (lib.splitString "/" (at 2)); args = sorted (words (at 3)); };

  # Keys are ignored; syscalls, fields and permissions are put in order.
  auditRule = text:
    let
      takesWord = [ "-a" "-A" "-w" "-p" "-k" "-S" "-F" "-C" ];
      step = state: word:
        if state.option != null then
          let next = word; inherit (state) option; in
          state // { option = null; }
            // (if option == "-k" || lib.hasPrefix "key=" next then { }
          else if option == "-S" then { syscalls = state.syscalls ++ lib.splitString "," next; }
          else { parts = state.parts ++ [ "${option} ${auditWord option next}" ]; })
        else if lib.elem word takesWord then state // { option = word; }
        else state // { parts = state.parts ++ [ word ]; };
      end = lib.foldl' step { option = null; parts = [ ]; syscalls = [ ]; } (words text);
      calls = lib.optional (end.syscalls != [ ]) "-S ${lib.concatStringsSep "," (sorted end.syscalls)}";
    in
    lib.concatStringsSep " " (sorted (end.parts ++ calls));
  auditWord = option: word:
    if option == "-a" || option == "-A" then lib.concatStringsSep "," (sorted (lib.splitString "," word))
    else if option == "-w" then
      let trimmed = builtins.match "(.*[^/])/+" word; in if trimmed == null then word else lib.head trimmed
    else if option == "-p" then lib.concatStrings (sorted (lib.stringToCharacters word))
    else
      let unset = builtins.match "([a-z]*uid)(!?=)(-1|4294967295)" word; in
      if unset == null then word else "${lib.elemAt unset 0}${lib.elemAt unset 1}unset";

  apply = arg: name: value: {
    text = each { read = fold; what = "a text"; } value;
    int = each { read = toInt; what = "a whole number"; numbers = true; } value;
    octal = each { read = toOctal; what = "an octal number"; } value;
    seconds = each { read = toSeconds; what = "a time span"; numbers = true; } value;
    audit-rule = each { read = auditRule; what = "an audit rule"; } value;
    lines = linesOf (line: line) value;
    pam = linesOf pamLine value;
    pam-module = linesOf pamModule value;
    kv = keyValue arg value;
    limits = limits value;
  }.${name};
in
{
  normalise = names: arg: value:
    lib.foldl' (current: name: if current.ok then apply arg name current.value else current) (ok value) names;

  # A file shortened to the lines that assign `arg`: a report needs them and must not carry what else the file holds.
  onlyAssignments = arg: value:
    let lines = linesOf (line: line) value; in
    if arg == null || !lines.ok then value
    else lib.filter (line: let one = assignment line; in one != null && one.key == arg) lines.value;

  inherit auditRule;
}
