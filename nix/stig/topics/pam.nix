# Lines are added to the stacks that NixOS generates; a stack given as text would lose its session and password lines.
{ lib, config, pkgs, ... }:
let
  inherit (import ../topic.nix { inherit lib config; }) on must;
  rulesOf = service: config.security.pam.services.${service}.rules;

  line = order: control: modulePath: settings: {
    enable = must true;
    order = must order;
    control = must control;
    modulePath = must modulePath;
    settings = lib.mapAttrs (_: must) settings;
  };
  faillockModule = "${config.security.pam.package}/lib/security/pam_faillock.so";
  faillock = service: {
    rules.auth = {
      stig-preauth = line ((rulesOf service).auth.unix.order - 20) "required" faillockModule (limits // { preauth = true; silent = true; });
      stig-authfail = line ((rulesOf service).auth.unix.order + 20) "[default=die]" faillockModule (limits // { authfail = true; });
    };
    rules.account.stig-faillock = line ((rulesOf service).account.unix.order - 20) "required" faillockModule { };
  };
  limits = { audit = true; deny = 3; fail_interval = 900; unlock_time = 0; };

  quality = service: {
    rules.password.stig-pwquality =
      line ((rulesOf service).password.unix.order - 20) "requisite" "${pkgs.libpwquality.lib}/lib/security/pam_pwquality.so" { };
  };
in
{
  security.pam.services = lib.mkMerge [
    (lib.mkIf (on "V-268081") (lib.genAttrs [ "login" "sshd" ] faillock))
    (lib.mkIf (on "V-268170") (lib.genAttrs [ "passwd" "chpasswd" "sudo" ] quality))
  ];
}
