# Rules of auditctl(8) in one spelling, and what a list of them records. The same as packages/control-plane/src/controls/audit-rules.ts.
{ lib, words }:
let
  sorted = builtins.sort builtins.lessThan;
  takesWord = [ "-a" "-A" "-w" "-p" "-k" "-S" "-F" "-C" ];

  auditWord = option: word:
    if option == "-a" || option == "-A" then lib.concatStringsSep "," (sorted (lib.splitString "," word))
    else if option == "-w" then
      let trimmed = builtins.match "(.*[^/])/+" word; in if trimmed == null then word else lib.head trimmed
    else if option == "-p" then lib.concatStrings (sorted (lib.stringToCharacters word))
    else
      let unset = builtins.match "([a-z]*uid)(!?=)(-1|4294967295)" word; in
      if unset == null then word else "${lib.elemAt unset 0}${lib.elemAt unset 1}unset";

  # Keys are ignored; syscalls, fields and permissions are put in order.
  parse = text:
    let
      step = state: word:
        if state.option != null then
          let next = word; inherit (state) option; in
          state // { option = null; }
            // (if option == "-k" || lib.hasPrefix "key=" next then { }
          else if option == "-S" then { syscalls = state.syscalls ++ lib.splitString "," next; }
          else { parts = state.parts ++ [ "${if option == "-A" then "-a" else option} ${auditWord option next}" ]; })
        else if lib.elem word takesWord then state // { option = word; }
        else state // { parts = state.parts ++ [ word ]; };
      all = words text;
      end = lib.foldl' step { option = null; parts = [ ]; syscalls = [ ]; } all;
      syscalls = if lib.elem "all" end.syscalls then [ ] else sorted end.syscalls;
    in
    { first = lib.elem "-A" all; parts = asWatch end.parts syscalls; inherit syscalls; };

  # `-a always,exit -F path=/x -F perm=wa` and `-w /x -p wa` are the same rule; which one is printed depends on the release.
  asWatch = parts: syscalls:
    let
      valueOf = pattern: lib.concatMap (part: let found = builtins.match pattern part; in if found == null then [ ] else [ (lib.last found) ]) parts;
      places = valueOf "-F (path|dir)=(.*)";
      permissions = valueOf "-F perm=(.*)";
      isWatch = builtins.length parts == 3 && syscalls == [ ] && lib.elem "-a always,exit" parts && places != [ ] && permissions != [ ];
    in
    if isWatch then [ "-w ${auditWord "-w" (lib.head places)}" "-p ${auditWord "-p" (lib.head permissions)}" ] else parts;

  spell = { parts, syscalls, ... }:
    lib.concatStringsSep " " (sorted (parts ++ lib.optional (syscalls != [ ]) "-S ${lib.concatStringsSep "," syscalls}"));

  records = rule: lib.any (part: lib.hasPrefix "-a " part || lib.hasPrefix "-w " part) rule.parts;

  # What is left of a rule behind one that says `never`; null when nothing is, or when only a part of its events would be recorded.
  without = rule: never:
    let
      hasArchitecture = lib.any (lib.hasPrefix "-F arch=") rule.parts;
      fields = lib.filter (part: !lib.hasPrefix "-a " part) never.parts;
      covers = lib.all (part: (lib.hasPrefix "-F arch=" part && !hasArchitecture) || lib.elem part rule.parts) fields;
      left = lib.subtractLists never.syscalls rule.syscalls;
    in
    if rule == null || !covers then rule
    else if never.syscalls == [ ] || left == [ ] then null
    else rule // { syscalls = left; };
in
{
  auditRule = text: spell (parse text);

  # The first rule that matches decides, so one that says `never` takes away what it covers of those behind it; `-a never,task` without
  # conditions leaves no event to record, and `-D` deletes what stands before.
  effective = texts:
    let
      place = listed: rule:
        if lib.elem "-D" rule.parts then [ ] else if rule.first then [ rule ] ++ listed else listed ++ [ rule ];
      listed = lib.foldl' place [ ] (map parse texts);
      noTask = lib.any (rule: rule.parts == [ "-a never,task" ]) listed;
      step = state: rule:
        let
          isNever = lib.elem "-a exit,never" rule.parts;
          left = if isNever || !records rule then rule else if noTask || builtins.length state.never > 256 then null else lib.foldl' without rule state.never;
        in
        {
          never = state.never ++ lib.optional isNever rule;
          recorded = state.recorded ++ lib.optional (left != null) left;
        };
    in
    map spell (lib.foldl' step { never = [ ]; recorded = [ ]; } listed).recorded;
}
