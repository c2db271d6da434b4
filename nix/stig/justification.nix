# Why a rule may fail: the words given with a control that was disabled, the preset that leaves it out, or a waiver.
{ lib, config, catalogue }:
let
  cfg = config.crystal-forge.stig;
  presets = config.crystal-forge.stig-presets;
  aliasesOf = id: lib.filter (control: lib.elem id catalogue.aliases.${control}.rules) (lib.attrNames catalogue.aliases);
  disabled = control: !cfg.${control}.enable && cfg.${control}.justification != [ ];
  enabledPresets = lib.filter (name: presets.${name}.enable) [ "off" "low" "medium" "high" ];
  byPreset = id:
    if catalogue.inBaseline cfg.baseline catalogue.rules.${id} || enabledPresets == [ ] then [ ]
    else if lib.elem "off" enabledPresets then presets.off.justification
    else [ "Outside of the baseline ${cfg.baseline} (stig-presets.${lib.head enabledPresets})" ];
in
{
  inherit aliasesOf disabled enabledPresets;
  ofRule = id: lib.concatMap (control: cfg.${control}.justification) (lib.filter disabled (aliasesOf id)) ++ byPreset id;
  # The parts are claims; the server compares them with the approved waiver of that id.
  waiverIsComplete = waiver:
    waiver != null && lib.all (part: part != "") [ waiver.id waiver.justification waiver.approvedBy waiver.expires ];
}
