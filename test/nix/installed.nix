# What the modules put on a host that every rule of the STIG applies to: files below /etc, and what programs and the kernel are told.
args@{ harness ? null, generation ? "24.11", only ? null }:
let
  world = import ./evaluate.nix (removeAttrs args [ "only" ]);
  inherit (world) lib pkgs;
  newer = world.generation == "25.11";
  contrary = import ./contrary.nix { inherit lib pkgs; inherit (world) generation; };
  # Two of the rules are about a screen.
  gdm = lib.setAttrByPath ([ "services" ] ++ (if newer then [ "displayManager" "gdm" ] else [ "xserver" "displayManager" "gdm" ])) { enable = true; };
  site = {
    # A rule's own premise may give another.
    crystal-forge.stig.params = lib.mapAttrs (_: lib.mkDefault) {
      logCollectorUrl = "https://logs.example.mil:19532";
      logCollectorCa = "/etc/ssl/collector.pem";
      pkiCaBundle = ../fixtures/recorded/collectors/compliant/certificates.pem;
      usbguardRules = "allow id 1d6b:0002\n";
      rateLimits."22" = "1000000b/second";
    };
    boot.initrd.luks.devices.root.device = "/dev/vda2";
    services.displayManager.enable = true;
  };
  evaluate = more: (world.evaluate [ ../../nix/stig { _file = "site.nix"; config = lib.mkMerge ([ site gdm ] ++ more); } ]).config;

  bare = builtins.unsafeDiscardStringContext;
  unitsThatRun = config: lib.attrNames (lib.filterAttrs (_: runs: runs) {
    "apparmor.service" = config.security.apparmor.enable;
    "auditd.service" = config.security.auditd.enable;
    "cron.service" = config.services.cron.enable;
    "sshd.service" = config.services.openssh.enable;
    "syslog-ng.service" = config.services.syslog-ng.enable;
    "systemd-journal-upload.service" = config.services.journald.upload.enable;
    "systemd-journald.service" = true;
    "systemd-timesyncd.service" = config.services.timesyncd.enable;
    "usbguard.service" = config.services.usbguard.enable;
  });
  textOf = file: bare (if file.text or null != null then file.text else file.source.text);
  names = [
    "issue"
    "login.defs"
    "default/useradd"
    "security/pwquality.conf"
    "pam_pkcs11/pam_pkcs11.conf"
    "systemd/journal-upload.conf"
    "systemd/journald.conf"
    "systemd/logind.conf"
    "systemd/timesyncd.conf"
    "audit/auditd.conf"
    "pam.d/login"
    "pam.d/sshd"
    "pam.d/passwd"
    "pam.d/chpasswd"
    "pam.d/sudo"
  ];
  filesOf = config:
    let
      here = lib.filter (name: config.environment.etc ? ${name}) names;
      # Where pam_limits of a service is told to look: a file of the store.
      limits = config.security.pam.services.login.rules.session.limits.settings.conf;
      entry = limit: "${limit.domain} ${limit.type} ${limit.item} ${toString limit.value}\n";
    in
    lib.listToAttrs (map (name: lib.nameValuePair "/etc/${name}" (textOf config.environment.etc.${name})) here) // {
      ${bare (toString limits)} = bare (lib.concatMapStrings entry config.security.pam.services.login.limits);
      "/etc/sudoers" = bare config.security.sudo.configFile;
      "/etc/sssd/sssd.conf" = bare config.services.sssd.config;
      "/nix/store/00000000000000000000000000000000-ssh_banner" = if config.services.openssh.banner == null then "" else bare config.services.openssh.banner;
    };

  describe = config: {
    files = filesOf config;
    sshdExtra = config.services.openssh.extraConfig;
    sshd = lib.filterAttrs (_: value: value != null) config.services.openssh.settings;
    auditRules = config.security.audit.rules;
    auditBacklogLimit = config.security.audit.backlogLimit;
    inherit (config.boot) kernelParams;
    sysctl = lib.filterAttrs (_: value: value != null) config.boot.kernel.sysctl;
    nix = { inherit (config.nix.settings) allowed-users require-sigs; };
    packages = lib.unique (map (one: one.pname or (lib.getName one)) config.environment.systemPackages);
    units = unitsThatRun config;
    # Those of NixOS itself are known with the real tree only.
    knownUnits = if harness == null then null
      else map (name: "${name}.service") (lib.attrNames config.systemd.services) ++ config.systemd.additionalUpstreamSystemUnits;
    dconf = lib.mapAttrs (_: profile: lib.foldl' (all: one: one // all) { } (map valuesOf (lib.filter hasSettings profile.databases))) config.programs.dconf.profiles;
    firewall = { inherit (config.networking.firewall) enable extraCommands; };
    wireless = config.networking.wireless.enable;
    bluetooth = config.hardware.bluetooth.enable;
    autologin = config.services.displayManager.autoLogin.user;
  };
  hasSettings = database: builtins.isAttrs database && database ? settings;
  # A setting by its whole name, as `dconf read` takes it; the first database that has one decides.
  valuesOf = database: lib.listToAttrs (lib.concatLists (lib.mapAttrsToList
    (path: lib.mapAttrsToList (name: value: lib.nameValuePair "${path}/${name}" (if builtins.isAttrs value then value.value else value)))
    database.settings));
in
{
  inherit ((evaluate [ ]).crystal-forge.stig) report;
  configured = describe (evaluate [ ]);
  # The same with a stronger line of the site against one rule.
  contrary = lib.genAttrs (if only == null then lib.attrNames contrary else only)
    (id: describe (evaluate [ (contrary.${id}.premise or { }) contrary.${id}.force ]));
}
