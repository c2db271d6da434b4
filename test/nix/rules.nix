# Three evaluations of each automatable rule: alone, against a plain line of a site, against a stronger one.
args@{ harness ? null, generation ? "24.11", only ? null }:
let
  world = import ./evaluate.nix (removeAttrs args [ "only" ]);
  inherit (world) lib;
  contrary = import ./contrary.nix { inherit lib; inherit (world) pkgs generation; };
  stateOf = id: site:
    let
      one = (world.evaluate [
        ../../nix/stig
        {
          _file = "premise.nix";
          config = lib.mkMerge [
            (contrary.${id}.premise or { })
            { crystal-forge.stig = { baseline = "off"; rules.${id}.enable = true; enforce = "report"; }; crystal-forge.stig-presets.off.justification = [ "one at a time" ]; }
          ];
        }
        { _file = "site.nix"; config = site; }
      ]).config.crystal-forge.stig.report.rules.${id};
    in
    { inherit (one) state definedIn; reasons = map (actual: actual.because or actual.verdict) one.actual; };
in
lib.genAttrs (if only == null then lib.attrNames contrary else only) (id: {
  alone = stateOf id { };
  plain = stateOf id contrary.${id}.plain;
  force = stateOf id contrary.${id}.force;
  plainLoses = contrary.${id}.plainLoses or false;
  lostIn = contrary.${id}.lostIn or null;
})
