# A commit of a local flake is evaluated and built by the builder of the same machine, without nixpkgs.
{ common, ... }:
common.test "builder" {
  nodes.server = common.server { extra = common.builds; };
  testScript = common.prelude + ''
    start_all()
    wait_for_server(server)
    server.wait_for_unit("crystal-forge-builder.service")
    server.wait_for_unit("crystal-forge-apply.service")
    watch_fleet(server)
    path = built(server, "web-1")
    server.succeed(f"test -e {path}/etc/hostname")
    # What does not build says so, and keeps nothing else from being built.
    errors = [one for one in cf_json(server, "evaluations")["items"] if one["state"] == "error"]
    assert [one["configuration"] for one in errors] == ["broken-eval"], errors
    # Builds run in scopes of their own, below one slice.
    server.succeed("journalctl -b | grep -F crystal-forge-builds.slice")
    # Keys stay closed to others.
    server.fail("sudo -u nobody cat /var/lib/crystal-forge-builder/builder.key")
    assert "600" == server.succeed("stat -c %a /var/lib/crystal-forge-builder/builder.key").strip()
  '';
}
