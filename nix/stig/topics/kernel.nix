{ lib, config, ... }:
let inherit (import ../topic.nix { inherit lib config; }) on must; in
{
  # Lists merge; the last of two equal parameters counts for the kernel, so ours come after.
  boot.kernelParams = lib.mkAfter (
    lib.optional (on "V-268092") "audit=1"
    ++ lib.optional (on "V-268093") "audit_backlog_limit=8192"
    ++ lib.optional (on "V-268168") "fips=1"
  );
  boot.kernel.sysctl = {
    "net.ipv4.tcp_syncookies" = lib.mkIf (on "V-268141") (must 1);
    "kernel.kptr_restrict" = lib.mkIf (on "V-268160") (must 1);
    "kernel.randomize_va_space" = lib.mkIf (on "V-268161") (must 2);
  };
  security.apparmor.enable = lib.mkIf (on "V-268173") (must true);
}
