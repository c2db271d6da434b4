# Whether a found value is what a rule expects: "true", "false" or "unknown" (missing, of the wrong type, not readable), which is
# never a pass. The same as packages/control-plane/src/controls/judge.ts.
{ lib }:
let
  normaliser = import ./normalise.nix { inherit lib; };

  unknown = because: { verdict = "unknown"; inherit because; };
  yesOrNo = holds: { verdict = if holds then "true" else "false"; };
  isNumber = value: builtins.isInt value || builtins.isFloat value;
  kindOf = value: if isNumber value then "number" else builtins.typeOf value;
  mismatch = found: wanted: unknown "found a ${kindOf found}, which cannot be compared with a ${kindOf wanted}";

  # Turn a whole file into the value that is compared; the expected value already is that value.
  readsFile = [ "kv" "kv-all" "limits" "limit-values" "pam-args" "sudo-default" "sudo-without-password" ];

  lists = found: wanted: holds:
    if builtins.isList found && builtins.isList wanted then yesOrNo holds else mismatch found wanted;
  # Each element of a list is judged.
  numbers = found: wanted: holds:
    let values = lib.toList found; in
    if lib.all isNumber values && isNumber wanted then yesOrNo (lib.all holds values) else mismatch found wanted;
  # Modes are bits, not numbers: 0077 is not "less" than 0700. Each element of a list is judged.
  bits = found: wanted: holds:
    let values = lib.toList found; in
    if builtins.isInt wanted && lib.all builtins.isInt values then yesOrNo (lib.all holds values) else mismatch found wanted;

  compare = op: found: wanted: {
    eq = if kindOf found != kindOf wanted then mismatch found wanted else yesOrNo (found == wanted);
    ne = if kindOf found != kindOf wanted then mismatch found wanted else yesOrNo (found != wanted);
    orderedEq = lists found wanted (found == wanted);
    "in" =
      if !builtins.isList wanted then unknown "a list is expected"
      else if !lib.any (one: kindOf one == kindOf found) wanted then mismatch found wanted
      else yesOrNo (lib.elem found wanted);
    subset = lists found wanted (lib.all (one: lib.elem one wanted) found);
    contains = lists found wanted (lib.all (one: lib.elem one found) wanted);
    excludes = lists found wanted (!lib.any (one: lib.elem one found) wanted);
    le = numbers found wanted (value: value <= wanted);
    ge = numbers found wanted (value: value >= wanted);
    between =
      if !lib.all isNumber (lib.toList found) then mismatch found wanted
      else if !builtins.isList wanted || builtins.length wanted != 2 || !lib.all isNumber wanted then unknown "two numbers are expected"
      else yesOrNo (lib.all (value: lib.elemAt wanted 0 <= value && value <= lib.elemAt wanted 1) (lib.toList found));
    matches =
      if builtins.isString found && builtins.isString wanted then yesOrNo (builtins.match wanted found != null)
      else mismatch found wanted;
    bitsWithin = bits found wanted (mode: builtins.bitAnd mode wanted == mode);
    bitsCover = bits found wanted (mode: builtins.bitAnd mode wanted == wanted);
  }.${op};
in
# `actual` or `expected` absent: nothing was found, nothing is expected.
question@{ op, arg ? null, normalise ? [ ], ... }:
let
  found = normaliser.normalise normalise arg question.actual;
  wanted = normaliser.normalise (lib.subtractLists readsFile normalise) null question.expected;
  isThere = question ? actual && question.actual != null;
in
if op == "absent" then yesOrNo (!isThere)
else if op == "present" then yesOrNo isThere
else if !(question ? actual) then unknown "nothing was found"
else if !(question ? expected) then unknown "nothing is expected"
else if !found.ok then unknown found.because
else if !wanted.ok then unknown "expected value: ${wanted.because}"
else compare op found.value wanted.value
