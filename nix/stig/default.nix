# STIG controls. Importing this module means: all rules are expected to hold, and a report says which of them do.
{
  imports = [
    ./options.nix
    ./controls.nix
    ./report.nix
    ./facts.nix
    ./topics/access.nix
    ./topics/audit.nix
    ./topics/banner.nix
    ./topics/firewall.nix
    ./topics/graphical.nix
    ./topics/hardware.nix
    ./topics/integrity.nix
    ./topics/kernel.nix
    ./topics/logging.nix
    ./topics/login.nix
    ./topics/nix.nix
    ./topics/pam.nix
    ./topics/pki.nix
    ./topics/pwquality.nix
    ./topics/ssh.nix
    ./topics/time.nix
  ];
}
