# Controls and presets: the names that users know, over the rules.
{ lib, config, options, ... }:
let
  catalogue = import ./catalogue.nix { inherit lib; };
  cfg = config.crystal-forge.stig;
  presets = config.crystal-forge.stig-presets;
  justifications = import ./justification.nix { inherit lib config catalogue; };
  inherit (justifications) aliasesOf disabled enabledPresets;

  # A default is at 1500; whoever set the option says something else or stronger.
  isSet = option: option.highestPrio < 1500;
  switchedOn = control: cfg.${control}.enable && isSet options.crystal-forge.stig.${control}.enable;

  # One definition for each rule, weaker than a plain one: a rule option that the user sets wins.
  ruleSwitch = id:
    let controls = aliasesOf id; in
    {
      enable = lib.mkMerge [
        (lib.mkIf (lib.any disabled controls) (lib.mkOverride 900 false))
        (lib.mkIf (!lib.any disabled controls && lib.any switchedOn controls) (lib.mkOverride 900 true))
      ];
    };

  baselines = { off = "off"; low = "all"; medium = "cat2"; high = "cat1"; };
  leftOut = lib.filter (rule: !catalogue.inBaseline cfg.baseline rule) (lib.attrValues (catalogue.rulesOf cfg.release));
  nameList = names: lib.concatMapStringsSep " and " (name: "crystal-forge.stig-presets.${name}.enable") names;

  unjustified = lib.filter (control: !cfg.${control}.enable && cfg.${control}.justification == [ ]
    && lib.any (id: catalogue.inBaseline cfg.baseline catalogue.rules.${id}) catalogue.aliases.${control}.rules)
    (lib.attrNames catalogue.aliases);
  unexplained = lib.filter
    (id: !cfg.rules.${id}.enable && catalogue.inBaseline cfg.baseline catalogue.rules.${id}
      && justifications.ofRule id == [ ] && !justifications.waiverIsComplete cfg.rules.${id}.waiver)
    (lib.attrNames (catalogue.rulesOf cfg.release));
  day = text: lib.substring 0 8 (lib.replaceStrings [ "-" ] [ "" ] text);
  expired = lib.filter
    (id: let inherit (cfg.rules.${id}) waiver; in cfg.asOf != null && waiver != null && day waiver.expires < day cfg.asOf)
    (lib.attrNames catalogue.rules);
  refuse = message: { assertion = false; inherit message; };
in
{
  crystal-forge.stig.rules = lib.mapAttrs (id: _: ruleSwitch id) catalogue.rules;
  crystal-forge.stig.baseline =
    lib.mkIf (enabledPresets != [ ]) (lib.mkDefault baselines.${lib.head (enabledPresets ++ [ "off" ])});

  assertions =
    lib.optional (builtins.length enabledPresets > 1)
      (refuse "${nameList enabledPresets} exclude each other: enable one.")
    ++ lib.optional (cfg.baseline == "off" && !presets.off.enable && !isSet options.crystal-forge.stig-presets.off.justification)
      (refuse "crystal-forge.stig.baseline = \"off\" needs crystal-forge.stig-presets.off.justification.")
    ++ map
      (control: refuse "crystal-forge.stig.${control}.enable is false: say why in crystal-forge.stig.${control}.justification.")
      unjustified
    ++ map
      (id: refuse "crystal-forge.stig.rules.\"${id}\".enable is false: give crystal-forge.stig.rules.\"${id}\".waiver with id, justification, approvedBy and expires.")
      unexplained
    ++ map
      (id: refuse "crystal-forge.stig.rules.\"${id}\".waiver expired on ${cfg.rules.${id}.waiver.expires}: renew it or let the rule hold.")
      expired;

  warnings = lib.optional (enabledPresets != [ ] && leftOut != [ ] && options.crystal-forge.stig.baseline.highestPrio >= 1000)
    ("crystal-forge.stig-presets.${lib.head enabledPresets} leaves out ${toString (builtins.length leftOut)} rules: presets name the "
      + "least severe category that is included. Set crystal-forge.stig.baseline to say which rules are expected to hold.");
}
