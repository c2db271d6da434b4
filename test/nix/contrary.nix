# For each automatable rule: what it needs to hold (premise), a plain line of a site against it, and a stronger one.
# `plainLoses`: rules that forbid, or whose file belongs to the site as a whole, do not survive a plain line and must say so.
{ lib, pkgs, generation }:
let
  inherit (lib) mkForce setAttrByPath;
  newer = generation == "25.11";
  at = path: value: { plain = setAttrByPath path value; force = setAttrByPath path (mkForce value); };
  option = text: at (lib.splitString "." text);
  packages = option "environment.systemPackages" [ pkgs.hello ];
  ssh = name: at [ "services" "openssh" "settings" name ];
  sysctl = name: at [ "boot" "kernel" "sysctl" name ] 0;
  etc = file: at [ "environment" "etc" file "text" ];
  auditRules = option "security.audit.rules" [ "-a never,task" ];
  auditd = key: value: if newer then at [ "security" "auditd" "settings" key ] value else etc "audit/auditd.conf" "${key} = ${value}\n";
  pwquality = key: value: etc "security/pwquality.conf" "${key} = ${value}\n";
  loginDefs = name: at [ "security" "loginDefs" "settings" name ];
  params = values: { premise.crystal-forge.stig.params = values; };
  screen = { premise.services.displayManager.enable = true; };
  gdmPath = [ "services" ] ++ (if newer then [ "displayManager" "gdm" ] else [ "xserver" "displayManager" "gdm" ]);
  collector = params { logCollectorUrl = "https://logs.example.mil:19532"; logCollectorCa = "/etc/ssl/collector.pem"; };
  sssd = { premise.services.sssd.enable = true; };
  # Lines of a site merge with ours; one that records nothing loses every rule, whoever wrote it.
  recordsNothing = auditRules // { plainLoses = true; };
in
{
  V-268078 = option "networking.firewall.enable" false;
  V-268080 = option "security.auditd.enable" false;
  V-268081 = option "security.pam.services.login.rules.auth.stig-preauth.enable" false;
  V-268082 = option "services.getty.helpLine" "Welcome";
  V-268083 = option "services.openssh.banner" "Welcome";
  V-268084 = at (gdmPath ++ [ "banner" ]) "Welcome" // {
    premise = lib.recursiveUpdate screen.premise (setAttrByPath (gdmPath ++ [ "enable" ]) true);
  };
  V-268085 = option "security.pam.loginLimits" [{ domain = "*"; type = "hard"; item = "maxlogins"; value = "100"; }];
  V-268086 = screen // (if newer then option "services.logind.settings.Login.IdleAction" "ignore"
    else option "services.logind.extraConfig" "IdleAction=ignore\nIdleActionSec=3600\n");
  V-268087 = packages;
  V-268088 = ssh "LogLevel" "QUIET";
  V-268089 = ssh "Ciphers" [ "aes256-cbc" ];
  V-268090 = packages;
  V-268092 = option "boot.kernelParams" [ "audit=0" ];
  V-268093 = option "boot.kernelParams" [ "audit_backlog_limit=64" ];
  V-268101 = auditd "space_left_action" "ignore";
  V-268102 = auditd "admin_space_left_action" "ignore";
  V-268103 = auditd "space_left" "75";
  V-268104 = auditd "admin_space_left" "50";
  V-268105 = auditd "disk_full_action" "IGNORE";
  V-268106 = auditd "disk_error_action" "IGNORE";
  V-268108 = collector // option "services.journald.upload.enable" false;
  V-268109 = collector // option "services.journald.upload.settings.Upload.TrustedCertificateFile" "all";
  V-268110 = auditd "log_group" "wheel";
  V-268124 = params { pkiCaBundle = ./evaluate.nix; } // option "services.sssd.enable" false;
  V-268126 = pwquality "ucredit" "1";
  V-268127 = pwquality "lcredit" "1";
  V-268128 = pwquality "dcredit" "1";
  V-268129 = pwquality "difok" "1";
  V-268130 = loginDefs "ENCRYPT_METHOD" "MD5";
  V-268131 = option "environment.systemPackages" [ pkgs.busybox ] // { plainLoses = true; };
  V-268132 = loginDefs "PASS_MIN_DAYS" 0;
  V-268133 = loginDefs "PASS_MAX_DAYS" 99999;
  V-268134 = pwquality "minlen" "8";
  V-268136 = packages;
  V-268137 = ssh "PermitRootLogin" "yes";
  V-268138 = option "users.mutableUsers" true;
  V-268139 = params { usbguardRules = "allow id 1d6b:0002\n"; } // option "services.usbguard.enable" false;
  V-268141 = sysctl "net.ipv4.tcp_syncookies";
  V-268142 = ssh "ClientAliveInterval" 0;
  V-268143 = ssh "ClientAliveCountMax" 3;
  V-268144 = {
    premise.boot.initrd.luks.devices.root.device = "/dev/vda2";
    plain.boot.initrd.luks.devices.swap.device = "/dev/vda3";
    force.boot.initrd.luks.devices = mkForce { };
    # The rule reads the names through a fact, which this project computes.
    lostIn = "crystal-forge.stig.facts";
  };
  V-268145 = pwquality "ocredit" "1";
  V-268146 = option "networking.wireless.enable" true;
  V-268147 = option "hardware.bluetooth.enable" true;
  V-268148 = recordsNothing;
  V-268149 = option "networking.timeServers" [ "pool.example.com" ];
  V-268150 = if newer then option "services.timesyncd.settings.Time.PollIntervalMaxSec" 4096
    else option "services.timesyncd.extraConfig" "PollIntervalMaxSec=4096\n";
  V-268151 = option "services.timesyncd.enable" false;
  V-268152 = option "nix.settings.allowed-users" [ "*" ];
  V-268153 = option "services.cron.enable" false;
  V-268154 = option "nix.settings.require-sigs" false;
  V-268155 = option "security.sudo.extraConfig" "Defaults timestamp_timeout=15\n";
  V-268156 = option "security.sudo.wheelNeedsPassword" false;
  V-268157 = ssh "Macs" [ "hmac-md5" ];
  V-268158 = option "networking.firewall.enable" false;
  V-268159 = option "services.openssh.enable" false;
  V-268160 = sysctl "kernel.kptr_restrict";
  V-268161 = sysctl "kernel.randomize_va_space";
  V-268168 = option "boot.kernelParams" [ "fips=0" ];
  V-268169 = pwquality "dictcheck" "0";
  V-268170 = option "security.pam.services.passwd.rules.password.stig-pwquality.enable" false;
  V-268171 = loginDefs "FAIL_DELAY" 0;
  V-268172 = option "services.displayManager.autoLogin.user" "alice";
  V-268173 = option "security.apparmor.enable" false;
  V-268174 = etc "default/useradd" "INACTIVE=-1\n";
  V-268176 = ssh "UsePAM" false;
  V-268177 = option "security.pam.p11.enable" false;
  V-268178 = sssd // option "services.sssd.config" "[sssd]\nservices = nss\n" // { plainLoses = true; };
  V-268179 = option "security.pam.p11.enable" false;
  V-268181 = loginDefs "UMASK" "022";
}
// lib.genAttrs (map (n: "V-268${n}") [ "091" "094" "095" "096" "097" "098" "099" "100" "163" "164" "165" "166" "167" ]) (_: recordsNothing)
// {
  V-268119 = auditRules;
  V-268107 = if newer then option "services.journald.audit" false else option "services.journald.extraConfig" "Audit=no\n";
}
