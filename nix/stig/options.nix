# Options below crystal-forge.stig and crystal-forge.stig-presets. Those of rules, controls and parameters follow the catalogue.
{ lib, config, ... }:
let
  inherit (lib) mkOption types;
  catalogue = import ./catalogue.nix { inherit lib; };
  cfg = config.crystal-forge.stig;

  readOnly = description: extra: mkOption ({ type = types.raw; readOnly = true; inherit description; } // extra);
  internal = description: mkOption { type = types.attrsOf types.raw; default = { }; internal = true; inherit description; };

  waiver = types.submodule {
    options = {
      id = mkOption { type = types.str; description = "Id of the waiver on the server, which must have approved it."; };
      justification = mkOption { type = types.str; description = "Why the rule may fail."; };
      approvedBy = mkOption { type = types.str; description = "Who approved it: a claim that the server compares with what it knows."; };
      expires = mkOption {
        type = types.strMatching "[0-9]{4}-[0-9]{2}-[0-9]{2}";
        description = "Last day on which the waiver holds, as YYYY-MM-DD.";
        example = "2026-12-31";
      };
    };
  };

  ruleOptions = id: rule: {
    enable = mkOption {
      type = types.bool;
      default = catalogue.inBaseline cfg.baseline rule;
      defaultText = lib.literalExpression "whether the severity (${rule.severity}) is in crystal-forge.stig.baseline";
      description = "Whether ${id} contributes its settings and is expected to hold: ${(lib.head (lib.attrValues (lib.filterAttrs (_: lib.isAttrs) rule.releases))).title}";
    };
    waiver = mkOption {
      type = types.nullOr waiver;
      default = null;
      description = "Needed when ${id} is disabled or known to fail.";
    };
  };

  controlOptions = control: { rules }: {
    enable = mkOption {
      type = types.bool;
      default = lib.any (id: catalogue.inBaseline cfg.baseline catalogue.rules.${id}) rules;
      defaultText = lib.literalExpression "whether one of its rules is in the baseline";
      description = "The control ${control}: ${lib.concatStringsSep ", " rules}.";
    };
    justification = mkOption {
      type = types.listOf types.str;
      default = [ ];
      description = "Why the control ${control} is disabled; must be given then. Arrives on the server as the draft of a waiver.";
    };
  };

  paramTypes = {
    bool = types.bool;
    str = types.str;
    lines = types.lines;
    "nullOr str" = types.nullOr types.str;
    "nullOr lines" = types.nullOr types.lines;
    "nullOr path" = types.nullOr types.path;
    "listOf str" = types.listOf types.str;
    "attrsOf str" = types.attrsOf types.str;
  };
in
{
  options.crystal-forge.stig = lib.mapAttrs controlOptions catalogue.aliases // {
    rules = lib.mapAttrs ruleOptions catalogue.rules;
    params = lib.mapAttrs
      (_: param: mkOption { type = paramTypes.${param.type}; inherit (param) default description; })
      catalogue.params;
    release = mkOption {
      type = types.enum (map (release: release.id) catalogue.about.releases);
      default = catalogue.about.current;
      description = "Release of the benchmark: its texts, mechanisms (syslog-ng or journald) and values.";
    };
    baseline = mkOption {
      type = types.enum [ "off" "cat1" "cat2" "all" ];
      default = "all";
      description = "Least severe category that is expected to hold. `off` needs `crystal-forge.stig-presets.off.justification`.";
    };
    enforce = mkOption {
      type = types.enum [ "assert" "warn" "report" ];
      default = "warn";
      description = "What a rule does that does not hold and has no waiver: fail the evaluation, warn, or only show in the report.";
    };
    asOf = mkOption {
      type = types.nullOr (types.strMatching "[0-9]{4}-?[0-9]{2}-?[0-9]{2}([0-9]{6})?");
      default = null;
      example = lib.literalExpression "self.lastModifiedDate";
      description = ''
        The day on which waivers are compared with their expiry. A pure evaluation knows no clock: give the date of the commit, or
        leave it to the server, which looks every day.
      '';
    };
    report = readOnly "The state of every rule with expected and actual values, as data for JSON." { };
    active = readOnly "Controls of which every rule holds or does not apply." { };
    inactive = readOnly "The other controls, with their justification and the state of each rule." { };
    facts = internal "Facts that rules read and that no option of NixOS states.";
    controls = internal "Own controls made with mkStigModule.";
  };

  options.crystal-forge.stig-presets = {
    off.enable = lib.mkEnableOption "no rule at all";
    off.justification = mkOption {
      type = types.listOf types.str;
      default = [ "Disabled via stig-presets.off" ];
      description = "Why no rule is expected to hold.";
    };
    low.enable = lib.mkEnableOption "rules of CAT I, II and III";
    medium.enable = lib.mkEnableOption "rules of CAT I and II";
    high.enable = lib.mkEnableOption "rules of CAT I";
  };
}
