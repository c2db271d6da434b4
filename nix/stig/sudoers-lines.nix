# Lines of sudoers(5). The same as packages/control-plane/src/controls/sudoers-lines.ts.
{ lib, fold }:
let
  # A line that ends in a backslash goes on with the next.
  joined = lines:
    let
      step = { whole, before }: line:
        let text = "${before}${line}"; in
        if lib.hasSuffix "\\" text
        then { inherit whole; before = "${fold (lib.removeSuffix "\\" text)} "; }
        else { whole = whole ++ [ text ]; before = ""; };
      end = lib.foldl' step { whole = [ ]; before = ""; } lines;
    in
    end.whole ++ lib.optional (end.before != "") (fold end.before);

  # Parts between commas that stand outside of double quotes.
  parametersOf = text: lib.filter builtins.isString (builtins.split "," (lib.concatStrings (lib.imap0
    (at: part: if lib.mod at 2 == 0 then part else "\"${lib.replaceStrings [ "," ] [ " " ] part}\"") (lib.splitString "\"" text))));

  settings = line:
    let parts = builtins.match "Defaults([:@!>][^ ]*)? +(.*)" line; in
    if parts == null then [ ]
    else
      lib.concatMap
        (parameter:
          let found = builtins.match "(!?)([a-z_]+)( *[+-]?= *\"?([^\"]*)\"?)?" (fold parameter); in
          if found == null then [ ]
          else [{
            scope = if lib.head parts == null then "" else lib.head parts;
            key = lib.elemAt found 1;
            value = if lib.elemAt found 0 == "!" then "0" else if lib.elemAt found 3 == null then "" else fold (lib.elemAt found 3);
          }])
        (parametersOf (lib.elemAt parts 1));
in
rec {
  # What sudo takes for a parameter of `Defaults`, one value of each scope: that for everybody first. Of a scope the last line counts;
  # `!name` is 0. null when nothing is said for everybody.
  sudoDefault = lines: name:
    let
      said = lib.filter (one: one.key == name) (lib.concatMap settings (joined lines));
      scopes = lib.unique (map (one: one.scope) said);
      lastOf = scope: (lib.last (lib.filter (one: one.scope == scope) said)).value;
    in
    if !lib.elem "" scopes then null else map lastOf ([ "" ] ++ lib.remove "" scopes);

  # The lines that let somebody become another without being asked for a password.
  sudoWithoutPassword = lines: lib.filter
    (line: builtins.match "(.*[ =:),])?NOPASSWD ?:.*" line != null || builtins.match "Defaults.*!authenticate.*" line != null)
    (joined lines);

  # Of a whole file only what these look at.
  onlyDefaults = name: lines: lib.filter (line: lib.hasPrefix "Defaults" line && lib.hasInfix name line) (joined lines);
}
