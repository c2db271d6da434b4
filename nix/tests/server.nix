# A host is registered, reports over the network, and is seen; one with another key is not.
{ common, ... }:
common.test "server" {
  nodes = { server = common.server { }; web = common.host; stranger = common.host; };
  testScript = common.prelude + ''
    start_all()
    wait_for_server(server)
    register(server, web, "web")
    server.wait_until_succeeds(AS_ADMIN + "cf systems --json | jq -e '.items[] | select(.hostname == \"web\" and .health == \"healthy\")'")
    running = web.succeed("readlink -f /run/current-system").strip()
    assert running in cf(server, "system show web --json")

    # Its key is a credential, which nobody can write beside: rotated, the host goes on, also from the next start.
    rotated = json.loads(web.succeed("crystal-forge-agent rotate-key --json"))
    assert rotated["kind"] == "done" and rotated["keyFile"].startswith("/var/lib/crystal-forge-agent/keys/"), rotated
    # What its controls are judged by comes from a unit of its own.
    web.wait_until_succeeds("journalctl -u crystal-forge-agent | grep -F 'facts of controls were accepted'", timeout=300)

    stranger.succeed("systemctl stop crystal-forge-agent; mkdir -p /var/lib/crystal-forge; cf keygen --yes --file /var/lib/crystal-forge/host.key; systemctl start crystal-forge-agent")
    stranger.wait_until_succeeds("journalctl -u crystal-forge-agent | grep -F 401")
    assert ["web"] == [one["hostname"] for one in cf_json(server, "systems")["items"]]

    # What the server keeps is closed to others, and a server that was away is reported to again.
    server.fail("sudo -u nobody cat /var/lib/crystal-forge/secrets/admin-token")
    before = cf_json(server, "systems")["items"][0]["seen_at"]
    server.succeed("systemctl stop crystal-forge-server")
    web.succeed("systemctl restart crystal-forge-agent")
    server.succeed("systemctl start crystal-forge-server")
    wait_for_server(server)
    server.wait_until_succeeds(AS_ADMIN + f"cf systems --json | jq -e '.items[0].seen_at > \"{before}\"'", timeout=300)
  '';
}
