# A host is registered, reports over the network, and is seen; one with another key is not.
{ common, ... }:
common.test "server" {
  nodes = { server = common.server { }; web = common.host; stranger = common.host; };
  testScript = common.prelude + ''
    start_all()
    wait_for_server(server)
    register(server, web, "web")
    server.wait_until_succeeds("CF_SERVER=http://127.0.0.1:3000 CF_TOKEN_FILE=/var/lib/crystal-forge/secrets/admin-token cf systems --json | grep -i healthy")
    seen = cf(server, "system show web --json")
    running = web.succeed("readlink -f /run/current-system").strip()
    assert running in seen, seen

    stranger.succeed("systemctl stop crystal-forge-agent; mkdir -p /var/lib/crystal-forge; cf keygen --yes --file /var/lib/crystal-forge/host.key; systemctl start crystal-forge-agent")
    stranger.wait_until_succeeds("journalctl -u crystal-forge-agent | grep -i '401\\|refused\\|unauthor'")
    assert "stranger" not in cf(server, "systems --json")

    # What the server keeps is closed to others, and a server that was away is reported to again.
    server.fail("sudo -u nobody cat /var/lib/crystal-forge/secrets/admin-token")
    server.succeed("systemctl stop crystal-forge-server"); server.succeed("systemctl start crystal-forge-server")
    wait_for_server(server)
  '';
}
