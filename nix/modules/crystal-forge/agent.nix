{ lib, config, pkgs, ... }:
let
  cfg = config.services.crystal-forge;
  inherit (cfg) client deployment;
  checkedConfig = import ./checked-config.nix { inherit lib pkgs; };
  credential = "/run/credentials/crystal-forge-agent.service/host.key";

  configFile = checkedConfig {
    name = "crystal-forge-agent";
    settings = {
      client = {
        inherit (client) allow_plain_http heartbeat_interval control_facts control_facts_interval spool_max_bytes spool_max_age
          authority ca_file server_url;
        private_key = credential;
        # agent-controls.nix
        control_facts_socket = if client.control_facts then "/run/crystal-forge-agent-controls.sock" else null;
      } // lib.optionalAttrs (client.server_url == null) { inherit (client) server_host server_port; };
      DEPLOYMENT = lib.mapAttrs' (name: lib.nameValuePair (lib.toUpper name)) deployment;
    };
    check = "${lib.getExe cfg.packages.agent} --check-config --config $file";
  };
in
{
  config = lib.mkIf (cfg.enable && client.enable) {
    systemd.tmpfiles.rules = [ "L+ /var/lib/crystal-forge-agent/config.toml - - - - ${configFile}" ];

    # `rotate-key`, `enroll` and `observe` are for people.
    environment.systemPackages = [ cfg.packages.agent ];

    # To look at, and for the checks of the flake.
    system.build.crystal-forge-agent-config = configFile;

    systemd.services.crystal-forge-agent = {
      description = "Crystal Forge agent of this host";
      wantedBy = [ "multi-user.target" ];
      wants = [ "network-online.target" ];
      after = [ "network-online.target" ];
      path = [ config.nix.package pkgs.systemd ];
      environment = { CRYSTAL_FORGE_CONFIG = "${configFile}"; LOG_LEVEL = cfg.log_level; };
      # The switch that the agent itself carries out, or watches, must not stop it half way: it takes up a new version by itself
      # at the next start.
      restartIfChanged = false;
      serviceConfig = import ./hardening.nix // {
        ExecStart = "${lib.getExe cfg.packages.agent} run";
        LoadCredential = "host.key:${client.private_key}";
        StateDirectory = "crystal-forge-agent";
        StateDirectoryMode = "0700";
        Restart = "on-failure";
        RestartSec = 10;
        # It tells what the host is: processes, kernel settings and the file systems' ids are what it reads.
        ProcSubset = "all";
        # The serial numbers of the board are readable by the real root only.
        PrivateUsers = false;
        # Names and addresses of interfaces come from netlink.
        RestrictAddressFamilies = [ "AF_UNIX" "AF_INET" "AF_INET6" "AF_NETLINK" ];
        # Which device holds the root file system is told by the links below /dev/disk, which are not opened.
        PrivateDevices = false;
        DevicePolicy = "closed";
      };
    };
  };
}
