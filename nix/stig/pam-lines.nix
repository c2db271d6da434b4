# Lines of PAM stacks. The same as packages/control-plane/src/controls/pam-lines.ts.
{ lib, words, fold }:
let
  sorted = builtins.sort builtins.lessThan;
  parse = line:
    let
      parts = builtins.match "([^ ]+) (\\[[^]]*]|[^ ]+) ([^ ]+)(.*)" (fold (lib.head (lib.splitString "#" line)));
      at = lib.elemAt parts;
    in
    if parts == null then null
    else { type = at 0; control = at 1; module = lib.last (lib.splitString "/" (at 2)); args = sorted (words (at 3)); };
  show = write: line: let parsed = parse line; in if parsed == null then line else write parsed;
in
{
  # The module without its directory, comments dropped, arguments in order of the alphabet.
  pamLine = show (line: lib.concatStringsSep " " ([ line.type line.control line.module ] ++ line.args));
  # Kind and module alone: where a package lies, or how much a site demands of it, is not what such a rule is about.
  pamModule = show (line: "${line.type} ${line.module}");
  # Without arguments. A module that must succeed is `required`, whether the stack ends at once (`requisite`) or not.
  pamControl = show (line: "${line.type} ${if line.control == "requisite" then "required" else line.control} ${line.module}");

  # The values of an argument, one of each line that `asked` selects: TYPE MODULE [WORD...] NAME [before MODULE]. null when no line is
  # selected, or when one of them does not have the argument.
  pamArguments = lines: asked:
    let
      ending = builtins.match "(.*) before ([^ ]+)" asked;
      selection = words (if ending == null then asked else lib.head ending);
      type = lib.elemAt selection 0;
      module = lib.elemAt selection 1;
      wanted = lib.init (lib.drop 2 selection);
      name = lib.last selection;
      parsed = map parse lines;
      isOther = one: one != null && one.type == type && one.module == lib.last ending;
      places = lib.filter (at: isOther (lib.elemAt parsed at)) (lib.range 0 (builtins.length parsed - 1));
      before = if ending == null then parsed else if places == [ ] then [ ] else lib.take (lib.last places) parsed;
      chosen = lib.filter (one: one != null && one.type == type && one.module == module && lib.all (word: lib.elem word one.args) wanted) before;
      valueOf = one: lib.filter (lib.hasPrefix "${name}=") one.args;
    in
    if chosen == [ ] || lib.any (one: valueOf one == [ ]) chosen then null
    else map (one: lib.removePrefix "${name}=" (lib.last (valueOf one))) chosen;
}
