# The agent is not restarted by the switch that it watches, reports the new system, and the old one again after a rollback.
{ common, ... }:
common.test "deploy" {
  nodes = {
    server = common.server { };
    web = {
      imports = [ common.host ];
      specialisation.next.configuration.environment.etc."generation".text = "next";
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

    def runs(path):
        server.wait_until_succeeds(AS_ADMIN + f"cf system show web --json | jq -e '.current_path == \"{path}\"'", timeout=60)

    runs(second)
    web.succeed(f"{first}/bin/switch-to-configuration test")
    runs(first)
  '';
}
