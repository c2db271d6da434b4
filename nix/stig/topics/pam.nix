# Lines are added to the stacks that NixOS generates; a stack given as text would lose its session and password lines.
{ lib, config, pkgs, ... }:
let
  inherit (import ../topic.nix { inherit lib config; }) on;
  rulesOf = service: config.security.pam.services.${service}.rules;

  faillock = service: {
    rules.auth = {
      stig-preauth = {
        order = (rulesOf service).auth.unix.order - 20;
        control = "required";
        modulePath = "${config.security.pam.package}/lib/security/pam_faillock.so";
        settings = limits // { preauth = true; silent = true; };
      };
      stig-authfail = {
        order = (rulesOf service).auth.unix.order + 20;
        control = "[default=die]";
        modulePath = "${config.security.pam.package}/lib/security/pam_faillock.so";
        settings = limits // { authfail = true; };
      };
    };
    rules.account.stig-faillock = {
      order = (rulesOf service).account.unix.order - 20;
      control = "required";
      modulePath = "${config.security.pam.package}/lib/security/pam_faillock.so";
    };
  };
  limits = { audit = true; deny = 3; fail_interval = 900; unlock_time = 0; };

  quality = service: {
    rules.password.stig-pwquality = {
      order = (rulesOf service).password.unix.order - 20;
      control = "requisite";
      modulePath = "${pkgs.libpwquality.lib}/lib/security/pam_pwquality.so";
    };
  };
in
{
  security.pam.services = lib.mkMerge [
    (lib.mkIf (on "V-268081") (lib.genAttrs [ "login" "sshd" ] faillock))
    (lib.mkIf (on "V-268170") (lib.genAttrs [ "passwd" "chpasswd" "sudo" ] quality))
  ];
}
