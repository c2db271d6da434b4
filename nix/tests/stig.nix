# A machine that boots with every control: its report is in place, and what it shows agrees with it.
{ self, common, pkgs, ... }:
common.test "stig" {
  nodes.machine = { lib, ... }: {
    imports = [ self.nixosModules.stig ];
    crystal-forge.stig = {
      enforce = "report";
      params.pkiAuthentication = false;
    };
    # A test drives the machine as root over the console.
    users.users.root.hashedPassword = lib.mkForce "!";
    users.allowNoPasswordLogin = true;
    virtualisation.memorySize = 2048;
  };
  testScript = ''
    import json
    machine.wait_for_unit("multi-user.target")
    report = json.loads(machine.succeed("cat /run/current-system/etc/crystal-forge/stig-report.json"))
    assert report["schema"] == 1 and len(report["rules"]) == 103, report["release"]
    rules = {name: rule["state"] for name, rule in report["rules"].items()}
    def shows(rule, command):
        assert rules[rule] == "active", (rule, report["rules"][rule])
        machine.succeed(command)
    shows("V-268137", "sshd -T | grep -x 'permitrootlogin no'")
    shows("V-268157", "sshd -T | grep -x 'macs hmac-sha2-512,hmac-sha2-256'")
    shows("V-268092", "grep -w audit=1 /proc/cmdline")
    shows("V-268080", "systemctl is-active auditd")
    shows("V-268091", "auditctl -l | grep -c execve | grep -x 4")
    shows("V-268119", "auditctl -s | grep -x 'loginuid_immutable 1 locked'")
    shows("V-268161", "sysctl -n kernel.randomize_va_space | grep -x 2")
    shows("V-268134", "grep -x 'minlen = 15' /etc/security/pwquality.conf")
    shows("V-268081", "grep pam_faillock /etc/pam.d/login && grep '^session' /etc/pam.d/login")
    shows("V-268173", "aa-status --enabled")
  '';
}
