{ lib, config, options, ... }:
let
  inherit (import ../topic.nix { inherit lib config; }) on anyOn must catalogue;
  inherit (import ../normalise.nix { inherit lib; }) auditRule;

  expectsRules = id: lib.filter (expect: expect.option or [ ] == [ "security" "audit" "rules" ]) catalogue.rules.${id}.assess.config.expect;
  withRules = lib.filter (id: expectsRules id != [ ]) (lib.attrNames catalogue.rules);
  wanted = lib.concatMap (id: lib.concatMap (expect: expect.value) (expectsRules id)) (lib.filter on withRules);
  # Two rules want the same four lines; loading a line twice fails.
  distinct = lib.attrValues (lib.listToAttrs (map (line: { name = auditRule line; value = line; }) wanted));

  # One writer for auditd.conf: every rule gives keys.
  auditdKeys = lib.filterAttrs (id: _: on id) {
    "V-268101".space_left_action = "syslog";
    "V-268102".admin_space_left_action = "syslog";
    "V-268103".space_left = "25%";
    "V-268104".admin_space_left = "10%";
    "V-268105".disk_full_action = "HALT";
    "V-268106".disk_error_action = "HALT";
    "V-268110".log_group = "root";
  };
  keys = lib.foldl' (all: one: all // one) { } (lib.attrValues auditdKeys);
  hasSettings = options.security.auditd ? settings;

  create = kind: mode: path: "${kind} ${path} ${mode} root root -";
in
{
  security.auditd = {
    enable = lib.mkIf (anyOn [ "V-268080" "V-268148" ]) (must true);
  } // lib.optionalAttrs hasSettings { settings = lib.mapAttrs (_: must) keys; };

  security.audit = {
    enable = lib.mkIf (anyOn ([ "V-268080" "V-268148" ] ++ withRules)) (must true);
    backlogLimit = lib.mkIf (on "V-268093") (must 8192);
    rules = distinct;
  };

  environment.etc = lib.mkIf (!hasSettings && keys != { }) {
    "audit/auditd.conf".text = lib.mkAfter
      (lib.concatStrings (lib.mapAttrsToList (key: value: "${key} = ${value}\n") keys));
  };

  # A watch on a path that does not exist makes loading fail. An empty cron.allow would lock root out of crontab.
  systemd.tmpfiles.rules = lib.optionals (on "V-268097") [
    (create "d" "0700" "/var/cron/tabs")
    "${create "f" "0600" "/var/cron/cron.allow"} root"
    (create "f" "0600" "/var/cron/cron.deny")
  ] ++ lib.optionals (on "V-268166") [ (create "f" "0644" "/var/log/lastlog") ]
  ++ lib.optionals (on "V-268167") [
    (create "f" "0000" "/etc/gshadow")
    (create "d" "0755" "/etc/security")
    (create "f" "0600" "/etc/security/opasswd")
  ]
  ++ lib.optionals (anyOn [ "V-268111" "V-268112" "V-268113" ]) [ (create "d" "0700" "/var/log/audit") ]
  ++ lib.optionals (on "V-268114") [ "z /var/log/audit/* 0600 root root -" ];
}
