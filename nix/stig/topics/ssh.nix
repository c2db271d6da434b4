{ lib, config, ... }:
let inherit (import ../topic.nix { inherit lib config; }) on must; in
{
  services.openssh.enable = lib.mkIf (on "V-268159") (must true);
  services.openssh.settings = {
    LogLevel = lib.mkIf (on "V-268088") (must "VERBOSE");
    Ciphers = lib.mkIf (on "V-268089") (must [ "aes256-ctr" "aes192-ctr" "aes128-ctr" ]);
    Macs = lib.mkIf (on "V-268157") (must [ "hmac-sha2-512" "hmac-sha2-256" ]);
    PermitRootLogin = lib.mkIf (on "V-268137") (must "no");
    ClientAliveInterval = lib.mkIf (on "V-268142") (must 600);
    ClientAliveCountMax = lib.mkIf (on "V-268143") (must 1);
    UsePAM = lib.mkIf (on "V-268176") (must true);
  };
}
