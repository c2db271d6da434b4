{ lib, config, pkgs, ... }:
let inherit (import ../topic.nix { inherit lib config; }) on part must; in
{
  users.mutableUsers = lib.mkIf (on "V-268138") (must false);
  security.sudo = {
    wheelNeedsPassword = lib.mkIf (on "V-268156") (must true);
    extraConfig = lib.mkIf (on "V-268155") (lib.mkAfter "Defaults timestamp_timeout=0\n");
  };
  environment.systemPackages =
    lib.optional (on "V-268087") pkgs.vlock
    ++ lib.optional (on "V-268090") pkgs.audit
    ++ lib.optional (on "V-268136") pkgs.opencryptoki
    ++ lib.optional (part "packages" "V-268153" || part "aide" "V-268153") pkgs.aide;
}
