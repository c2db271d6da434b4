# What the STIG modules promise, apart from single rules. Every scenario is data that a test looks at.
args@{ harness ? null, generation ? "24.11" }:
let
  world = import ./evaluate.nix args;
  inherit (world) lib pkgs;
  stig = ../../nix/stig;
  catalogue = import ../../nix/stig/catalogue.nix { inherit lib; };
  judge = import ../../nix/stig/judge.nix { inherit lib; };

  evaluate = config: (world.evaluate [ stig { _file = "site.nix"; inherit config; } ]).config;
  states = config: builtins.mapAttrs (_: rule: rule.state) (evaluate config).crystal-forge.stig.report.rules;
  failed = config: map (one: one.message) (lib.filter (one: !one.assertion && lib.hasInfix "crystal-forge" one.message) (evaluate config).assertions);
  warnings = config: lib.filter (lib.hasInfix "crystal-forge") (evaluate config).warnings;
  count = config: let all = lib.attrValues (states config); in
    lib.genAttrs (lib.unique all) (state: lib.count (one: one == state) all);
  throws = value: !(builtins.tryEval (builtins.deepSeq value value)).success;
  off = rules: { crystal-forge.stig = { baseline = "off"; inherit rules; }; crystal-forge.stig-presets.off.justification = [ "a test" ]; };

  complete = {
    crystal-forge.stig.params = {
      logCollectorUrl = "https://logs.example.mil:19532";
      logCollectorCa = "/etc/ssl/collector.pem";
      pkiCaBundle = ./evaluate.nix;
      usbguardRules = "allow id 1d6b:0002\n";
    };
    boot.initrd.luks.devices.root.device = "/dev/vda2";
  };
  waiver = { id = "W-1"; justification = "legacy printers"; approvedBy = "isso@example.mil"; expires = "2026-06-30"; };
  inherit (import ../../nix/stig/lib.nix) mkStigModule;
  ownControl = { config, ... }: mkStigModule {
    name = "own_banner";
    srgList = [ "SRG-OS-000023-GPOS-00006" ];
    cciList = [ "CCI-000048" ];
    inherit config;
    stigConfig = { networking.firewall.enable = true; boot.kernelParams = [ "slub_debug=P" ]; };
    extraOptions.level = lib.mkOption { type = lib.types.int; default = 3; description = "A site's own."; };
  };
  own = config: (world.evaluate [ stig ownControl { _file = "site.nix"; inherit config; } ]).config;
in
{
  sha256 = catalogue.sha256;
  vectors = map (vector: (judge (removeAttrs vector [ "verdict" "about" ])).verdict) catalogue.vectors;

  everything = count complete;
  everythingTwice = builtins.length (lib.attrNames (world.evaluate [ stig stig (import ../../nix/stig/modules.nix).stig ]).config.crystal-forge.stig.report.rules);
  releaseV1R1 = count (lib.recursiveUpdate complete { crystal-forge.stig.release = "V1R1"; services.syslog-ng.remote_hosts = [ "logs.example.mil:6514" ]; });
  syslogText = (evaluate { crystal-forge.stig.release = "V1R1"; services.syslog-ng = { remote_hosts = [ "logs.example.mil" ]; cafile = "/ca.pem"; certfile = "/c.pem"; keyfile = "/k.pem"; }; }).services.syslog-ng.extraConfig;

  report =
    let built = (evaluate complete).system.build.stigReport; in
    { parsed = builtins.fromJSON built.text; hasContext = builtins.hasContext built.text; };
  reportInEtc = (evaluate { }).environment.etc ? "crystal-forge/stig-report.json";
  tracking = let inherit ((evaluate complete).crystal-forge.stig) active inactive; in {
    inherit inactive;
    active = lib.mapAttrs (_: one: removeAttrs one [ "config" ]) active;
    activeBanner = active.banner;
    activeKernel = active.kernel;
  };
  eachControlAlone = lib.genAttrs (lib.attrNames catalogue.aliases) (control:
    let config = evaluate (off { } // { crystal-forge.stig = { baseline = "off"; ${control}.enable = true; }; }); in
    lib.genAttrs catalogue.aliases.${control}.rules (id: config.crystal-forge.stig.rules.${id}.enable && config.crystal-forge.stig.report.rules.${id}.state != ""));

  # Regressions of the original.
  kernelParams = (evaluate { boot.kernelParams = [ "console=ttyS0" ]; }).boot.kernelParams;
  auditRules = (evaluate { }).security.audit.rules;
  pamKeepsSession = lib.hasInfix "session" (evaluate { }).security.pam.services.login.text && lib.hasInfix "password" (evaluate { }).security.pam.services.login.text;
  pwqualityTogether = (evaluate { environment.etc."security/pwquality.conf".text = "retry = 3"; }).environment.etc."security/pwquality.conf".text;
  rootHash = states { users.users.root.hashedPassword = "$6$salt$hash"; };
  rootHashIsNotTold = lib.hasInfix "$6$salt" (evaluate { users.users.root.hashedPassword = "$6$salt$hash"; }).system.build.stigReport.text;
  sssdSecretIsNotTold = lib.hasInfix "hunter2" (evaluate { services.sssd.config = "[domain/x]\nldap_default_authtok = hunter2\n[pam]\noffline_credentials_expiration = 1\n"; }).system.build.stigReport.text;
  replacedSource = (evaluate { environment.etc."security/pwquality.conf".source = lib.mkForce (pkgs.writeText "own" "minlen = 3\n"); }).crystal-forge.stig.report.rules."V-268134";
  nftables = (states { networking.nftables.enable = true; })."V-268158";
  openPort = (states { networking.firewall.allowedTCPPorts = [ 8443 ]; })."V-268158";
  noPki = lib.filterAttrs (id: _: lib.elem id [ "V-268124" "V-268177" "V-268178" "V-268179" ]) (evaluate { crystal-forge.stig.params.pkiAuthentication = false; }).crystal-forge.stig.report.rules;

  # Justifications, waivers, presets.
  disabledWithout = failed { crystal-forge.stig.usbguard.enable = false; };
  disabledWith = {
    failed = failed { crystal-forge.stig.usbguard = { enable = false; justification = [ "no ports" ]; }; };
    rule = (evaluate { crystal-forge.stig.usbguard = { enable = false; justification = [ "no ports" ]; }; }).crystal-forge.stig.report.rules."V-268139";
    inactive = (evaluate { crystal-forge.stig.usbguard = { enable = false; justification = [ "no ports" ]; }; }).crystal-forge.stig.inactive.usbguard;
  };
  disabledButHolds = (states { crystal-forge.stig.ssh = { enable = false; justification = [ "own" ]; }; services.openssh.settings.PermitRootLogin = "no"; })."V-268137";
  ruleOverControl = (evaluate { crystal-forge.stig.usbguard = { enable = false; justification = [ "no ports" ]; }; crystal-forge.stig.rules."V-268139".enable = true; }).services.usbguard.enable;
  sharedRule = (evaluate { crystal-forge.stig.cron = { enable = false; justification = [ "timers instead" ]; }; }).environment.etc ? "aide.conf";
  ruleWithout = failed { crystal-forge.stig.rules."V-268139".enable = false; };
  ruleWithWaiver = {
    failed = failed { crystal-forge.stig.rules."V-268139" = { enable = false; inherit waiver; }; crystal-forge.stig.asOf = "20260630120000"; };
    state = (states { crystal-forge.stig.rules."V-268139" = { enable = false; inherit waiver; }; })."V-268139";
  };
  waiverExpired = failed { crystal-forge.stig.rules."V-268139" = { enable = false; inherit waiver; }; crystal-forge.stig.asOf = "2026-07-01"; };
  waiverIncomplete = failed { crystal-forge.stig.rules."V-268139" = { enable = false; waiver = waiver // { approvedBy = ""; }; }; };
  waiverMalformed = throws (states { crystal-forge.stig.rules."V-268139".waiver = waiver // { expires = "next year"; }; });
  unknownRule = throws (states { crystal-forge.stig.rules."V-999999".enable = false; });
  presets = lib.genAttrs [ "off" "low" "medium" "high" ] (preset:
    let config = evaluate { crystal-forge.stig-presets.${preset}.enable = true; }; in {
      inherit (config.crystal-forge.stig) baseline;
      expected = lib.count (rule: rule.enable) (lib.attrValues (lib.filterAttrs (id: _: config.crystal-forge.stig.report.rules ? ${id}) config.crystal-forge.stig.rules));
      warnings = warnings { crystal-forge.stig = { enforce = "report"; }; crystal-forge.stig-presets.${preset}.enable = true; };
      failed = failed { crystal-forge.stig-presets.${preset}.enable = true; };
      justification = config.crystal-forge.stig.report.rules."V-268139".justification or [ ];
    });
  presetThenBaseline = warnings { crystal-forge.stig = { enforce = "report"; baseline = "cat1"; }; crystal-forge.stig-presets.high.enable = true; };
  twoPresets = failed { crystal-forge.stig-presets = { low.enable = true; high.enable = true; }; };
  baselineOff = failed { crystal-forge.stig.baseline = "off"; };
  enforceAssert = failed { crystal-forge.stig.enforce = "assert"; services.openssh.settings.PermitRootLogin = lib.mkForce "yes"; };
  enforceAssertMessages = map (one: one.message) (lib.filter (one: !one.assertion && lib.hasPrefix "STIG" one.message)
    (evaluate (lib.recursiveUpdate complete { crystal-forge.stig.enforce = "assert"; services.openssh.settings.PermitRootLogin = lib.mkForce "yes"; })).assertions);
  enforceReport = lib.filter (lib.hasInfix "STIG") (evaluate { crystal-forge.stig.enforce = "report"; }).warnings;

  ownControl = {
    active = (own { }).crystal-forge.stig.active.own_banner;
    level = (own { }).crystal-forge.stig.own_banner.level;
    plain = (own { networking.firewall.enable = false; }).crystal-forge.stig.active ? own_banner;
    lost = (own { networking.firewall.enable = lib.mkForce false; }).crystal-forge.stig.inactive.own_banner;
    disabled = lib.filter (one: !one.assertion && lib.hasInfix "own_banner" one.message) (own { crystal-forge.stig.own_banner.enable = false; }).assertions;
  };
}
