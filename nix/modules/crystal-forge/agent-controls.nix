# The collectors of the agent in a unit of their own: systemd starts it when the agent opens the socket, and what it prints goes back. So
# the process that talks to the network needs none of the rights below, and the process that has them reaches no network and holds no key.
{ lib, config, ... }:
let
  cfg = config.services.crystal-forge;
  inherit (cfg) client;
  name = "crystal-forge-agent-controls";
  user = "crystal-forge-controls";
in
{
  config = lib.mkIf (cfg.enable && client.enable && client.control_facts) {
    # Not root: for systemd, D-Bus and files its number alone would be a right to change things.
    users.users.${user} = { isSystemUser = true; group = user; description = "Collectors of the Crystal Forge agent"; };
    users.groups.${user} = { };

    systemd.sockets.${name} = {
      description = "Collectors of the Crystal Forge agent";
      wantedBy = [ "sockets.target" ];
      socketConfig = {
        ListenStream = "/run/${name}.sock";
        # Root is who asks; one look at a time.
        SocketMode = "0600";
        Accept = true;
        MaxConnections = 1;
      };
    };

    # Not required: what the host runs is reported all the same.
    systemd.services.crystal-forge-agent = { wants = [ "${name}.socket" ]; after = [ "${name}.socket" ]; };

    systemd.services."${name}@" = {
      description = "Look of the Crystal Forge agent at this host";
      # A look that is broken off is repeated; one that failed is told by the agent, and no unit of it remains.
      restartIfChanged = false;
      unitConfig.CollectMode = "inactive-or-failed";
      serviceConfig = import ./hardening.nix // {
        ExecStart = "${lib.getExe cfg.packages.agent} observe --controls --json";
        StandardInput = "null";
        StandardOutput = "socket";
        StandardError = "journal";
        RuntimeMaxSec = 300;
        MemoryMax = "512M";
        TasksMax = 64;
        Nice = 10;
        User = user;
        Group = user;

        # What it may do that others may not. Each is for looking; with a read-only file system, no address family but these, and
        # no way to other rights.
        #   CAP_DAC_READ_SEARCH  home directories and directories of services: a private key without a passphrase, or a directory that
        #                        everyone may write, lies where root cannot look without it. Also sudoers, shadow, host keys of sshd.
        #   CAP_AUDIT_CONTROL    the kernel tells its audit rules and status to nobody else (CAP_AUDIT_READ is for records only).
        #   CAP_NET_ADMIN        nor the rules of its packet filter.
        CapabilityBoundingSet = [ "CAP_DAC_READ_SEARCH" "CAP_AUDIT_CONTROL" "CAP_NET_ADMIN" ];
        AmbientCapabilities = [ "CAP_DAC_READ_SEARCH" "CAP_AUDIT_CONTROL" "CAP_NET_ADMIN" ];
        # Capabilities of a user namespace count for neither audit nor the network of the host.
        PrivateUsers = false;
        # auditctl and nft ask the kernel by netlink, systemctl and timedatectl ask by a socket. No internet addresses: what is seen
        # leaves by the agent or not at all. (iptables-legacy would need a raw socket; the firewall of NixOS is not it.)
        RestrictAddressFamilies = [ "AF_UNIX" "AF_NETLINK" ];
        IPAddressDeny = "any";
        # Keys and writable directories below the homes are looked for; nothing there is changed.
        ProtectHome = "read-only";
        # A private /tmp would hide the real one from the search for writable directories. It is read-only like the rest.
        PrivateTmp = false;
        # It would hide a directory from that search; neither capability nor system call to load a module is there.
        ProtectKernelModules = false;
        # Kernel settings and the command line.
        ProcSubset = "all";
        # lsblk leaves out a device of LVM or LUKS whose node it may not even look at, and one without encryption would not be seen.
        # No device may be opened; "m" alone, which does nothing without CAP_MKNOD, permits the look.
        PrivateDevices = false;
        DevicePolicy = "closed";
        DeviceAllow = "block-device-mapper m";
      };
    };
  };
}
