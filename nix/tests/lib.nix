# Machines with Crystal Forge, for tests. Keys are made when a test runs; none lies in the repository.
{ self, pkgs }:
let
  inherit (pkgs) lib;
  modules = { imports = [ self.nixosModules.crystal-forge ]; };
in
{
  # The control plane with its database, the command line, and a token for it.
  server = { extra ? { } }: { config, ... }: {
    imports = [ modules extra ];
    virtualisation.memorySize = 2048;
    services.crystal-forge = {
      enable = true;
      server = { enable = true; host = "0.0.0.0"; port = 3000; openFirewall = true; authority = "server:3000"; };
      build.enable = lib.mkDefault false;
    };
    environment.variables = { CF_SERVER = "http://127.0.0.1:3000"; CF_TOKEN_FILE = "/var/lib/crystal-forge/secrets/admin-token"; };
    environment.systemPackages = [ pkgs.jq pkgs.git config.services.crystal-forge.packages.cf ];
  };
  # A host with an agent. It waits for its key, which the test puts there and registers.
  host = { ... }: {
    imports = [ modules ];
    services.crystal-forge = {
      enable = true;
      client = { enable = true; server_host = "server"; server_port = 3000; allow_plain_http = true; private_key = "/var/lib/crystal-forge/host.key"; };
    };
    environment.systemPackages = [ (self.packages.${pkgs.stdenv.hostPlatform.system}.cf) ];
  };

  test = name: { nodes, testScript }: pkgs.testers.runNixOSTest { inherit name nodes testScript; };

  # Python that every script begins with.
  prelude = ''
    import json

    def cf(machine, command):
        return machine.succeed("CF_SERVER=http://127.0.0.1:3000 CF_TOKEN_FILE=/var/lib/crystal-forge/secrets/admin-token cf " + command)

    def wait_for_server(machine):
        machine.wait_for_unit("crystal-forge-server.service")
        machine.wait_for_open_port(3000)
        machine.wait_until_succeeds("curl -sf http://127.0.0.1:3000/status")

    def register(server, host, name):
        host.succeed("systemctl stop crystal-forge-agent; mkdir -p /var/lib/crystal-forge; cf keygen --yes --file /var/lib/crystal-forge/host.key")
        key = host.succeed("cat /var/lib/crystal-forge/host.pub").strip()
        server.succeed(f"printf '[[systems]]\\nhostname = \"{name}\"\\npublic_key = \"{key}\"\\nenvironment = \"dev\"\\n' > /root/fleet.toml")
        cf(server, "apply -f /root/fleet.toml")
        host.succeed("systemctl start crystal-forge-agent")
        host.wait_for_unit("crystal-forge-agent.service")
  '';
}
