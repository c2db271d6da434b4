# The agent is not restarted by the switch that it watches, reports the new system, and the old one again after a rollback.
{ common, ... }:
common.test "deploy" {
  nodes = {
    server = common.server { };
    web = { lib, ... }: {
      imports = [ common.host ];
      specialisation.next.configuration.environment.etc."generation".text = "next";
      virtualisation.writableStore = true;
    };
  };
  testScript = common.prelude + ''
    start_all()
    wait_for_server(server)
    register(server, web, "web")
    first = web.succeed("readlink -f /run/current-system").strip()
    pid = web.succeed("systemctl show -P MainPID crystal-forge-agent").strip()
    web.succeed("/run/current-system/specialisation/next/bin/switch-to-configuration test")
    second = web.succeed("readlink -f /run/current-system").strip()
    assert first != second
    assert pid == web.succeed("systemctl show -P MainPID crystal-forge-agent").strip()
    show = "CF_SERVER=http://127.0.0.1:3000 CF_TOKEN_FILE=/var/lib/crystal-forge/secrets/admin-token cf system show web --json"
    server.wait_until_succeeds(f"{show} | grep -F {second}", timeout=60)
    web.succeed(f"{first}/bin/switch-to-configuration test")
    server.wait_until_succeeds(f"{show} | jq -e '.. | strings | select(. == \"{first}\")'", timeout=60)
  '';
}
