# The notice of the DOD, as DISA words it in the fix of V-268082.
{ lib, config, options, ... }:
let
  inherit (import ../topic.nix { inherit lib config; }) on must catalogue;
  # Of two names of one option, the newer where it exists.
  gdm = if options.services ? displayManager && options.services.displayManager ? gdm then [ "displayManager" "gdm" ] else [ "xserver" "displayManager" "gdm" ];
  banner = lib.concatStringsSep "\n\n" (lib.head catalogue.rules."V-268082".assess.config.expect).value + "\n";
in
{
  services = lib.mkMerge [
    {
      getty.helpLine = lib.mkIf (on "V-268082") "\n${banner}";
      openssh.banner = lib.mkIf (on "V-268083") (must banner);
    }
    (lib.setAttrByPath (gdm ++ [ "banner" ]) (lib.mkIf (on "V-268084") (must banner)))
  ];
}
