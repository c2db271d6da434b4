# What every topic needs. Priorities: lists and lines are contributed plainly, so that they merge; a scalar or an exclusive list
# that must hold is given with `must`, which beats a plain definition and loses, visibly, against mkForce.
{ lib, config }:
let
  cfg = config.crystal-forge.stig;
  catalogue = import ./catalogue.nix { inherit lib; };
in
rec {
  inherit cfg catalogue;
  inherit (cfg) params;
  on = id: cfg.rules.${id}.enable && lib.isAttrs (catalogue.rules.${id}.releases.${cfg.release});
  anyOn = lib.any on;
  must = lib.mkOverride 60;

  # Several controls contribute to one rule (V-268153): each owns its part. The rule itself may be off only because one of its
  # controls is.
  part = control: id:
    let
      justifications = import ./justification.nix { inherit lib config catalogue; };
      offByControl = lib.any justifications.disabled (justifications.aliasesOf id);
    in
    !justifications.disabled control && (on id || offByControl && catalogue.inBaseline cfg.baseline catalogue.rules.${id});
}
