# The state of every rule, from the final configuration. Intention (`enable`) never decides a state.
{ lib, config, options, catalogue }:
let
  cfg = config.crystal-forge.stig;
  judge = import ./judge.nix { inherit lib; };
  inherit (import ./normalise.nix { inherit lib; }) shorten;
  reader = import ./read-option.nix { inherit lib config options; };
  justifications = import ./justification.nix { inherit lib config catalogue; };

  ofRelease = parts: lib.filter (part: lib.elem cfg.release (part.releases or [ cfg.release ])) parts;

  # `{ param = name; }` stands for the site's value. One that is not set satisfies nothing.
  resolve = value:
    let
      isParam = one: builtins.isAttrs one && builtins.attrNames one == [ "param" ];
      lookUp = one: if isParam one then reader.plain cfg.params.${one.param} else one;
      named = map (one: one.param) (lib.filter isParam (lib.toList value));
    in
    {
      value = if builtins.isList value then map lookUp value else lookUp value;
      unset = lib.filter (name: cfg.params.${name} == null) named;
    };

  judgeExpectation = expectation:
    let
      alternatives = expectation.anyOf or [ expectation ];
      chosen = lib.findFirst reader.exists null alternatives;
      found = reader.read chosen;
      arg = chosen.arg or null;
      wanted = resolve chosen.value;
      hasValue = chosen ? value;
      shortened =
        if found ? value then { value = shorten (chosen.normalise or [ ]) arg found.value; } else found;
      verdict =
        if hasValue && wanted.unset != [ ]
        then { verdict = "unknown"; because = "crystal-forge.stig.params.${lib.head wanted.unset} is not set"; }
        else
          judge ({ inherit (chosen) op; inherit arg; normalise = chosen.normalise or [ ]; }
            // lib.optionalAttrs (shortened ? value) { actual = shortened.value; }
            // lib.optionalAttrs hasValue { expected = wanted.value; });
    in
    if chosen == null then {
      supported = false;
      expected = { option = reader.showPath (lib.head alternatives); inherit (lib.head alternatives) op; };
      actual = { because = "no such option in this release of nixpkgs"; verdict = "unsupported"; };
      definedIn = [ ];
    } else {
      supported = true;
      inherit chosen;
      expected = { option = reader.showPath chosen; inherit (chosen) op; }
        // lib.optionalAttrs hasValue { inherit (wanted) value; }
        // lib.filterAttrs (name: _: lib.elem name [ "arg" "normalise" ]) chosen;
      actual = shortened // verdict;
      definedIn = reader.definedIn chosen;
    };

  # The first fact that makes the rule not applicable, or null.
  decidingFact = rule:
    lib.findFirst (one: one != null) null (map
      (entry:
        let found = reader.fact entry.fact; in
        if found.ok && (judge { inherit (entry) op; actual = found.value; expected = entry.value; }).verdict == "true"
        then { path = lib.showOption entry.fact; inherit (found) value; inherit (entry) because; }
        else null)
      rule.applicability);

  stateOf = id: rule:
    let
      judged = map judgeExpectation (ofRelease rule.assess.config.expect);
      fact = decidingFact rule;
      failed = lib.filter (one: one.supported && one.actual.verdict != "true") judged;
      unsupported = lib.filter (one: !one.supported) judged;
      justification = justifications.ofRule id;
      inherit (cfg.rules.${id}) waiver;
      state =
        if fact != null then "not-applicable"
        else if rule.assess.config.mode == "none" then "manual"
        else if failed == [ ] && unsupported == [ ] then "active"
        else if justification != [ ] || justifications.waiverIsComplete waiver then "justified"
        else if failed == [ ] then "unsupported"
        else "inactive";
    in
    {
      inherit state;
      expected = map (one: one.expected) judged;
      actual = map (one: one.actual) judged;
      definedIn = lib.unique (lib.concatMap (one: one.definedIn) (if failed == [ ] then judged else failed));
    }
    // lib.optionalAttrs (fact != null) { inherit fact; }
    // lib.optionalAttrs (waiver != null) { waiver = reader.plain waiver; }
    // lib.optionalAttrs (justification != [ ]) { inherit justification; };
in
lib.mapAttrs stateOf (catalogue.rulesOf cfg.release)
