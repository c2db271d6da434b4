# The report of every rule, the tracking by control, and what an unmet rule does at evaluation.
{ lib, config, options, pkgs, ... }:
let
  catalogue = import ./catalogue.nix { inherit lib; };
  cfg = config.crystal-forge.stig;
  states = import ./state.nix { inherit lib config options catalogue; };
  reader = import ./read-option.nix { inherit lib config options; };
  justifications = import ./justification.nix { inherit lib config catalogue; };

  report = {
    schema = 1;
    benchmark = catalogue.about.id;
    inherit (cfg) release;
    catalogueSha256 = catalogue.sha256;
    nixpkgsRev = config.system.nixos.revision;
    configuration = config.system.name;
    # What a host shows is compared with the site's own values.
    params = lib.mapAttrs (_: reader.plain) cfg.params;
    rules = states;
  };

  # Rules of a control in this release.
  rulesOf = control: lib.filter (id: states ? ${id}) catalogue.aliases.${control}.rules;
  holds = id: lib.elem states.${id}.state [ "active" "not-applicable" ];
  nested = values: lib.foldl' lib.recursiveUpdate { } (map (one: lib.setAttrByPath one.path one.value) values);
  # Values by the path of their option; a path into every element of a list ends before it.
  valuesOf = side: ids: nested (lib.concatMap
    (id:
      let
        inherit (states.${id}) expected actual;
        pairs = lib.zipListsWith (wanted: found: { inherit wanted found; }) expected actual;
        value = pair: if side == "actual" then pair.found.value or null else pair.wanted.value or null;
      in
      map (pair: { path = [ pair.wanted.option ]; value = value pair; }) pairs)
    ids);

  ofControl = control:
    let ids = rulesOf control; in
    {
      srg = lib.unique (lib.concatMap (id: catalogue.rules.${id}.srg) ids);
      cci = lib.unique (lib.concatMap (id: catalogue.rules.${id}.cci) ids);
    } // (if lib.all holds ids then {
      active = true;
      config = valuesOf "actual" ids;
      rules = ids;
    } else {
      active = false;
      config = valuesOf "expected" ids;
      justification = lib.unique (lib.concatMap justifications.ofRule ids);
      rules = lib.genAttrs ids (id: states.${id}.state);
    });

  # Own controls were judged by the module that made them.
  controls = lib.genAttrs (lib.attrNames catalogue.aliases) ofControl // lib.mapAttrs (_: reader.plain) cfg.controls;
  withState = active: lib.mapAttrs (_: control: removeAttrs control [ "active" ])
    (lib.filterAttrs (_: control: control.active == active) controls);

  unmet = lib.filter (id: states.${id}.state == "inactive" && cfg.rules.${id}.enable) (lib.attrNames states);
  show = value: builtins.unsafeDiscardStringContext (builtins.toJSON value);
  describe = id:
    let
      one = states.${id};
      pairs = lib.zipListsWith (wanted: found: { inherit wanted found; }) one.expected one.actual;
      lost = lib.head (lib.filter (pair: pair.found.verdict != "true") pairs);
      short = text: if lib.stringLength text > 120 then "${lib.substring 0 120 text}…" else text;
      wanted = lib.optionalString (lost.wanted ? value && lost.wanted.value != null) " ${short (show lost.wanted.value)}";
      found = lost.found.because or "it is ${short (show (lost.found.value or null))}";
    in
    "${id}: ${lost.wanted.option} must be ${lost.wanted.op}${wanted}, but ${found}"
    + lib.optionalString (one.definedIn != [ ]) " (${lib.concatStringsSep ", " one.definedIn})";
in
{
  crystal-forge.stig = {
    inherit report;
    active = withState true;
    inactive = withState false;
  };

  system.build.stigReport = pkgs.writeText "stig-report.json" (show report);
  # Part of the system, so that /run/current-system proves which report belongs to it.
  environment.etc."crystal-forge/stig-report.json".source = config.system.build.stigReport;

  assertions = lib.optionals (cfg.enforce == "assert")
    (map (id: { assertion = false; message = "STIG rule not met. ${describe id}"; }) unmet);
  warnings = lib.optional (cfg.enforce == "warn" && unmet != [ ])
    "${toString (builtins.length unmet)} STIG rules are not met and have no waiver:\n${lib.concatMapStringsSep "\n" (id: "  ${describe id}") unmet}";
}
