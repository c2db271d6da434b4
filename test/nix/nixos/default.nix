# The options of NixOS that our modules read and set, with the types, defaults and the few behaviours that decide an outcome.
# `generation` is "24.11" or "25.11": between them options moved. The tests run on both, and on the real tree with HARNESS_ROOT.
{ generation ? "24.11" }:
{ lib, config, options, pkgs, ... }:
let
  inherit (lib) mkOption mkIf mkDefault types;
  newer = generation == "25.11";
  bool = default: mkOption { type = types.bool; inherit default; };
  listOf = inner: mkOption { type = types.listOf inner; default = [ ]; };
  lines = mkOption { type = types.lines; default = ""; };
  nullOr = inner: mkOption { type = types.nullOr inner; default = null; };
  atoms = types.attrsOf (types.nullOr (types.oneOf [ types.bool types.int types.str ]));
  free = declared: mkOption { type = types.submodule { freeformType = atoms; options = declared; }; default = { }; };

  etcFile = { name, config, options, ... }: {
    options = {
      enable = bool true;
      text = nullOr types.lines;
      source = mkOption { type = types.path; };
      mode = mkOption { type = types.str; default = "symlink"; };
      user = mkOption { type = types.str; default = "+0"; };
      group = mkOption { type = types.str; default = "+0"; };
      target = mkOption { type = types.str; default = name; };
    };
    # Who wins the text wins the source.
    config.source = mkIf (config.text != null) (lib.mkOverride options.text.highestPrio (pkgs.writeText "etc-${name}" config.text));
  };

  pamRule = { name, config, ... }: {
    options = {
      name = mkOption { type = types.str; default = name; };
      enable = bool true;
      order = mkOption { type = types.int; };
      control = mkOption { type = types.str; };
      modulePath = mkOption { type = types.str; };
      args = listOf types.str;
      settings = mkOption { type = types.attrsOf (types.nullOr (types.oneOf [ types.bool types.int types.str ])); default = { }; };
    };
    config.args = lib.concatLists (lib.mapAttrsToList
      (key: value: if builtins.isBool value then lib.optional value key else lib.optional (value != null) "${key}=${toString value}")
      config.settings);
  };
  pamKinds = [ "account" "auth" "password" "session" ];
  outer = config;
  pamService = { name, config, ... }: {
    options = {
      rules = lib.genAttrs pamKinds (_: mkOption { type = types.attrsOf (types.submodule pamRule); default = { }; });
      text = nullOr types.lines;
      limits = mkOption { type = types.listOf limit; default = outer.security.pam.loginLimits; };
      rootOK = bool false;
      startSession = bool false;
    };
    config = {
      rules = lib.mkMerge [
        (lib.genAttrs pamKinds (_: { unix = { order = mkDefault 11000; control = mkDefault "sufficient"; modulePath = mkDefault "${pkgs.pam}/lib/security/pam_unix.so"; }; }))
        {
          auth.p11 = { enable = outer.security.pam.p11.enable; order = 10700; control = "sufficient"; modulePath = "${pkgs.pam_p11}/lib/security/pam_p11.so"; args = [ "${pkgs.opensc}/lib/opensc-pkcs11.so" ]; };
          session.limits = {
            enable = config.limits != [ ];
            order = 12200;
            control = "required";
            modulePath = "${pkgs.pam}/lib/security/pam_limits.so";
            settings.conf = "${pkgs.writeText "limits.conf" ""}";
          };
        }
      ];
      text = mkDefault (lib.concatMapStringsSep "\n"
        (kind: lib.concatMapStrings
          (rule: "${lib.concatStringsSep " " ([ kind rule.control rule.modulePath ] ++ rule.args)} # ${rule.name} (order ${toString rule.order})\n")
          (builtins.sort (a: b: a.order < b.order) (lib.filter (rule: rule.enable) (lib.attrValues config.rules.${kind}))))
        pamKinds);
    };
  };

  gdm = { enable = bool false; banner = nullOr types.lines; };
  limit = types.submodule {
    options = {
      domain = mkOption { type = types.str; };
      type = mkOption { type = types.enum [ "-" "hard" "soft" ]; };
      item = mkOption { type = types.str; };
      value = mkOption { type = types.either types.str types.int; };
    };
  };
  password = { options = lib.genAttrs [ "password" "hashedPassword" "initialPassword" "hashedPasswordFile" "expires" ] (_: nullOr types.str) // {
    initialHashedPassword = nullOr types.str;
    isSystemUser = bool false;
    isNormalUser = bool false;
    group = mkOption { type = types.str; default = ""; };
    home = mkOption { type = types.str; default = "/var/empty"; };
    createHome = bool false;
    description = mkOption { type = types.str; default = ""; };
    extraGroups = listOf types.str;
    uid = nullOr types.int;
  }; };
  unit = types.submodule {
    freeformType = types.attrsOf types.anything;
    options = {
      description = mkOption { type = types.str; default = ""; };
      enable = bool true;
      wantedBy = listOf types.str;
      wants = listOf types.str;
      requires = listOf types.str;
      after = listOf types.str;
      environment = mkOption { type = types.attrsOf (types.nullOr (types.oneOf [ types.str types.path types.package ])); default = { }; };
      serviceConfig = mkOption { type = types.attrsOf types.anything; default = { }; };
      unitConfig = mkOption { type = types.attrsOf types.anything; default = { }; };
      socketConfig = mkOption { type = types.attrsOf types.anything; default = { }; };
      path = listOf (types.either types.package types.str);
      script = lines;
      preStart = lines;
      restartIfChanged = bool true;
      stopIfChanged = bool true;
    };
  };
  units = mkOption { type = types.attrsOf unit; default = { }; };
  # How NixOS writes settings into files.
  said = value: if builtins.isBool value then (if value then "yes" else "no") else toString value;
  keyValues = between: settings: lib.concatStrings (lib.mapAttrsToList (key: value: lib.optionalString (value != null) "${key}${between}${said value}\n") settings);
  ini = sections: lib.concatStrings (lib.mapAttrsToList (name: settings: "[${name}]\n${keyValues "=" settings}\n") sections);
  anyAttrs = mkOption { type = types.attrsOf types.anything; default = { }; };
in
{
  options = {
    assertions = mkOption { type = types.listOf types.unspecified; default = [ ]; };
    warnings = listOf types.str;
    boot.kernelParams = listOf types.str;
    boot.kernel.sysctl = mkOption { type = types.attrsOf (types.oneOf [ types.bool types.int types.str ]); default = { }; };
    boot.initrd.luks.devices = mkOption { type = types.attrsOf (types.submodule { options.device = mkOption { type = types.str; }; }); default = { }; };
    environment.etc = mkOption { type = types.attrsOf (types.submodule etcFile); default = { }; };
    environment.systemPackages = listOf types.package;
    hardware.bluetooth.enable = bool false;
    networking = {
      hostName = mkOption { type = types.str; default = "nixos"; };
      firewall = { enable = bool true; allowedTCPPorts = listOf types.port; extraCommands = lines; extraStopCommands = lines; };
      nftables.enable = bool false;
      nftables.tables = mkOption {
        type = types.attrsOf (types.submodule { options = { enable = bool true; family = mkOption { type = types.str; }; content = lines; }; });
        default = { };
      };
      timeServers = mkOption { type = types.listOf types.str; default = [ "0.nixos.pool.ntp.org" "1.nixos.pool.ntp.org" ]; };
      wireless = { enable = bool false; iwd.enable = bool false; };
    };
    nix.settings = mkOption {
      type = types.submodule {
        freeformType = types.attrsOf types.anything;
        options = { allowed-users = mkOption { type = types.listOf types.str; default = [ "*" ]; }; require-sigs = bool true; trusted-users = listOf types.str; };
      };
      default = { };
    };
    nix.package = mkOption { type = types.package; default = pkgs.nix; };
    nix.gc.automatic = bool false;
    programs.dconf.profiles = mkOption {
      type = types.attrsOf (types.submodule {
        options.databases = listOf (types.submodule {
          options = { settings = mkOption { type = types.attrsOf (types.attrsOf types.raw); default = { }; }; locks = listOf types.str; };
        });
      });
      default = { };
    };
    security = {
      apparmor.enable = bool false;
      audit = {
        enable = mkOption { type = types.enum [ false true "lock" ]; default = false; };
        backlogLimit = mkOption { type = types.int; default = 64; };
        rules = listOf types.str;
      };
      auditd = { enable = bool false; } // lib.optionalAttrs newer { settings = free { }; };
      loginDefs.settings = free {
        ENCRYPT_METHOD = mkOption { type = types.enum [ "YESCRYPT" "SHA512" "SHA256" "MD5" "DES" ]; default = "YESCRYPT"; };
        UMASK = mkOption { type = types.str; default = "077"; };
      };
      pam = {
        loginLimits = listOf limit;
        package = mkOption { type = types.package; default = pkgs.pam; };
        p11.enable = bool false;
        services = mkOption { type = types.attrsOf (types.submodule pamService); default = { }; };
      };
      sudo = { wheelNeedsPassword = bool true; extraConfig = lines; configFile = lines; };
      polkit = { enable = bool false; extraConfig = lines; };
    };
    services = {
      cron = { enable = bool false; systemCronJobs = listOf types.str; };
      displayManager = {
        enable = bool false;
        autoLogin = mkOption { type = types.submodule { options = { enable = bool false; user = nullOr types.str; }; }; default = { }; };
      } // lib.optionalAttrs newer { inherit gdm; };
      getty = { helpLine = lines; autologinUser = nullOr types.str; };
      grafana = {
        enable = bool false;
        dataDir = mkOption { type = types.str; default = "/var/lib/grafana"; };
        settings = anyAttrs;
        declarativePlugins = nullOr (types.listOf types.package);
        provision = { enable = bool false; datasources.settings = mkOption { type = types.nullOr (types.attrsOf types.anything); default = null; }; dashboards.settings = mkOption { type = types.nullOr (types.attrsOf types.anything); default = null; }; };
      };
      journald = {
        upload = {
          enable = bool false;
          settings = mkOption {
            type = types.submodule {
              freeformType = types.attrsOf atoms;
              options.Upload = mkOption {
                type = types.submodule { freeformType = atoms; options = { URL = mkOption { type = types.str; }; TrustedCertificateFile = nullOr types.str; }; };
                default = { };
              };
            };
            default = { };
          };
        };
        extraConfig = lines;
      } // lib.optionalAttrs newer { audit = nullOr types.bool; };
      logind = if newer then { settings.Login = mkOption { type = atoms; default = { }; }; } else { extraConfig = lines; };
      openssh = {
        enable = bool false;
        banner = nullOr types.lines;
        extraConfig = lines;
        settings = free {
          LogLevel = mkOption { type = types.nullOr (types.enum [ "QUIET" "INFO" "VERBOSE" "DEBUG" ]); default = "INFO"; };
          Ciphers = mkOption { type = types.nullOr (types.listOf types.str); default = [ "chacha20-poly1305@openssh.com" "aes256-ctr" ]; };
          Macs = mkOption { type = types.nullOr (types.listOf types.str); default = [ "hmac-sha2-512-etm@openssh.com" ]; };
          PermitRootLogin = mkOption { type = types.nullOr (types.enum [ "yes" "prohibit-password" "no" ]); default = "prohibit-password"; };
          UsePAM = mkOption { type = types.nullOr types.bool; default = true; };
        };
      };
      postgresql = {
        enable = bool false;
        package = mkOption { type = types.package; default = pkgs.postgresql; };
        ensureDatabases = listOf types.str;
        ensureUsers = listOf (types.attrsOf types.anything);
        authentication = lines;
        identMap = lines;
        settings = anyAttrs;
      };
      sssd = { enable = bool false; config = mkOption { type = types.lines; default = "[sssd]\nservices = nss, pam\n\n[nss]\n\n[pam]\n\n[domain/shadowutils]\nid_provider = proxy\n"; }; };
      syslog-ng = { enable = bool false; extraConfig = lines; };
      timesyncd = { enable = bool true; servers = mkOption { type = types.nullOr (types.listOf types.str); default = config.networking.timeServers; }; }
        // (if newer then { settings.Time = mkOption { type = atoms; default = { }; }; } else { extraConfig = lines; });
      usbguard = { enable = bool false; rules = nullOr types.lines; };
      xserver = lib.optionalAttrs (!newer) { displayManager = { inherit gdm; }; };
    };
    system = {
      activationScripts = anyAttrs;
      build = mkOption { type = types.attrsOf types.unspecified; default = { }; };
      name = mkOption { type = types.str; default = config.networking.hostName; };
      nixos.revision = nullOr types.str;
      nixos.release = mkOption { type = types.str; default = generation; };
      stateVersion = mkOption { type = types.str; default = generation; };
      extraDependencies = listOf types.unspecified;
    };
    systemd = {
      services = units;
      sockets = units;
      timers = units;
      targets = units;
      slices = mkOption { type = types.attrsOf (types.submodule { options = { description = mkOption { type = types.str; default = ""; }; sliceConfig = anyAttrs; wantedBy = listOf types.str; }; }); default = { }; };
      tmpfiles.rules = listOf types.str;
    };
    users.mutableUsers = bool true;
    users.users = mkOption { type = types.attrsOf (types.submodule password); default = { }; };
    users.groups = mkOption { type = types.attrsOf (types.attrsOf types.anything); default = { }; };
  };

  config = {
    # What NixOS itself contributes where it matters: lists that are never empty, defaults, whole files.
    boot.kernelParams = [ "loglevel=4" ] ++ lib.optional (config.security.audit.enable != false) "audit=1"
      ++ lib.optionals config.security.apparmor.enable [ "apparmor=1" "security=apparmor" ];
    programs.dconf.profiles = let screen = if newer then config.services.displayManager.gdm else config.services.xserver.displayManager.gdm; in
      mkIf (screen.enable && screen.banner != null) {
        gdm.databases = [{ settings."org/gnome/login-screen" = { banner-message-enable = true; banner-message-text = screen.banner; }; }];
      };
    boot.kernel.sysctl."kernel.kptr_restrict" = mkDefault 1;
    environment.systemPackages = [ pkgs.coreutils ] ++ lib.optional config.security.auditd.enable pkgs.audit;
    environment.etc = {
      "default/useradd".source = pkgs.writeText "useradd" "GROUP=100\nHOME=/home\n";
      issue = mkDefault { source = pkgs.writeText "issue" "\n<<< Welcome to NixOS ${generation} (\\m) - \\l >>>\n${config.services.getty.helpLine}\n\n"; };
      "login.defs".source = pkgs.writeText "login.defs" (keyValues " " config.security.loginDefs.settings);
      "systemd/journald.conf".text = "[Journal]\nStorage=persistent\n"
        + lib.optionalString (newer && config.services.journald.audit != null) "Audit=${lib.boolToString config.services.journald.audit}\n"
        + config.services.journald.extraConfig;
      "systemd/journal-upload.conf".source = pkgs.writeText "journal-upload.conf" (ini config.services.journald.upload.settings);
      "systemd/logind.conf".text = "[Login]\nKillUserProcesses=no\n" + (if newer then keyValues "=" config.services.logind.settings.Login else config.services.logind.extraConfig);
      "systemd/timesyncd.conf".text = "[Time]\nNTP=${lib.concatStringsSep " " config.services.timesyncd.servers}\n"
        + (if newer then keyValues "=" config.services.timesyncd.settings.Time else config.services.timesyncd.extraConfig);
    } // lib.optionalAttrs newer { "audit/auditd.conf".text = keyValues " = " config.security.auditd.settings; }
      // lib.mapAttrs' (name: service: lib.nameValuePair "pam.d/${name}" { source = pkgs.writeText "${name}.pam" service.text; }) config.security.pam.services;
    security.sudo.configFile = "root     ALL=(ALL:ALL)    SETENV: ALL\n"
      + "%wheel  ALL=(ALL:ALL)    ${lib.optionalString (!config.security.sudo.wheelNeedsPassword) "NOPASSWD:"}SETENV: ALL\n"
      + lib.optionalString (config.security.sudo.extraConfig != "") "# extraConfig\n${config.security.sudo.extraConfig}\n";
    security.pam.services = lib.genAttrs [ "login" "sshd" "passwd" "chpasswd" "sudo" ] (_: { });
    users.users.root.initialHashedPassword = mkDefault "!";
  };
}
