# Machines with Crystal Forge, for tests. Keys are made when a test runs; none lies in the repository.
{ self, pkgs }:
let
  inherit (pkgs) lib;
  modules = { imports = [ self.nixosModules.crystal-forge ]; };
  # The fleet without nixpkgs that the other tests use, too: its builds take seconds and nothing is fetched for them.
  fleet = ../../test/fixtures/fleet;
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
    environment.systemPackages = [ pkgs.jq pkgs.git config.services.crystal-forge.packages.cf ];
  };
  # What makes a server build: a builder beside it, and a repository that it may read.
  builds = {
    services.crystal-forge.build = { enable = true; local_flakes = [ "/srv/fleet" ]; sandbox = false; };
    nix.settings.experimental-features = [ "nix-command" "flakes" ];
  };
  # A host with an agent. It waits for its key, which the test puts there and registers.
  host = { config, ... }: {
    imports = [ modules ];
    services.crystal-forge = {
      enable = true;
      client = { enable = true; server_host = "server"; server_port = 3000; allow_plain_http = true; private_key = "/var/lib/crystal-forge/host.key"; };
    };
    environment.systemPackages = [ config.services.crystal-forge.packages.cf ];
  };

  test = name: { nodes, testScript }: pkgs.testers.runNixOSTest { inherit name nodes testScript; };

  # Python that every script begins with.
  prelude = ''
    import json

    AS_ADMIN = "CF_SERVER=http://127.0.0.1:3000 CF_TOKEN_FILE=/var/lib/crystal-forge/secrets/admin-token "

    def cf(machine, command):
        return machine.succeed(AS_ADMIN + "cf " + command)

    def cf_json(machine, command):
        return json.loads(cf(machine, command + " --json"))

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

    def watch_fleet(machine):
        machine.succeed("cp -r ${fleet} /srv/fleet && chmod -R u+w /srv/fleet && rm -f /srv/fleet/*.ts")
        machine.succeed("cd /srv/fleet && git init -qb main && git add -A && git -c user.name=t -c user.email=t@example.com commit -qm fleet")
        machine.succeed("printf '[[flakes]]\\nname = \"fleet\"\\nrepo_url = \"/srv/fleet\"\\nlocal = true\\npoll_interval_s = 10\\n' > /root/flake.toml")
        cf(machine, "apply -f /root/flake.toml")

    def built(machine, configuration):
        """The path that a configuration of the fleet yields, once it lies in the cache."""
        wanted = f"first(.items[] | select(.configuration == \"{configuration}\" and .build_state == \"cached\")) | .out_path"
        machine.wait_until_succeeds(AS_ADMIN + f"cf evaluations --json | jq -er '{wanted}'", timeout=300)
        return machine.succeed(AS_ADMIN + f"cf evaluations --json | jq -er '{wanted}'").strip()
  '';
}
