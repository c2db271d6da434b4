{ lib, config, ... }:
let inherit (import ../topic.nix { inherit lib config; }) on must; in
{
  security.loginDefs.settings = {
    ENCRYPT_METHOD = lib.mkIf (on "V-268130") (must "SHA512");
    PASS_MIN_DAYS = lib.mkIf (on "V-268132") (must 1);
    PASS_MAX_DAYS = lib.mkIf (on "V-268133") (must 60);
    FAIL_DELAY = lib.mkIf (on "V-268171") (must 4);
    UMASK = lib.mkIf (on "V-268181") (must "077");
  };
  # NixOS writes this file itself, as a whole; so must the control.
  environment.etc = lib.mkIf (on "V-268174") {
    "default/useradd".text = must "GROUP=100\nHOME=/home\nSHELL=/run/current-system/sw/bin/bash\nINACTIVE=35\n";
  };
  security.pam.loginLimits = lib.mkIf (on "V-268085") (lib.mkAfter [
    { domain = "*"; item = "maxlogins"; type = "hard"; value = "10"; }
  ]);
}
