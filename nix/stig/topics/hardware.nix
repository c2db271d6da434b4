{ lib, config, ... }:
let inherit (import ../topic.nix { inherit lib config; }) on must params; in
{
  networking.wireless.enable = lib.mkIf (on "V-268146") (must false);
  networking.wireless.iwd.enable = lib.mkIf (on "V-268146") (must false);
  hardware.bluetooth.enable = lib.mkIf (on "V-268147") (must false);
  services.usbguard = {
    enable = lib.mkIf (on "V-268139") (must true);
    rules = lib.mkIf (on "V-268139" && params.usbguardRules != null) (lib.mkAfter params.usbguardRules);
  };
}
