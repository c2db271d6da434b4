{ lib, config, pkgs, ... }:
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
  # NixOS writes accounts without useradd and leaves the field of shadow(5) empty that decides; what is there it keeps. An account that
  # cannot log in by password needs none.
  system.activationScripts.crystal-forge-stig-inactivity = lib.mkIf (on "V-268174") {
    deps = [ "users" ];
    text = ''
      while IFS=: read -r name password _ _ _ _ inactive _; do
        case $password in "!"* | "*"*) continue ;; esac
        case $inactive in [0-9] | [12][0-9] | 3[0-5]) continue ;; esac
        ${pkgs.shadow}/bin/chage --inactive 35 "$name" || echo "no limit of inactivity for $name" >&2
      done < /etc/shadow
    '';
  };
  security.pam.loginLimits = lib.mkIf (on "V-268085") (lib.mkAfter [
    { domain = "*"; item = "maxlogins"; type = "hard"; value = "10"; }
  ]);
}
