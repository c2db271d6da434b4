# The schema is there, its owner logs in by the socket, and nobody else does.
{ common, ... }:
common.test "database" {
  nodes.server = common.server { };
  testScript = common.prelude + ''
    start_all()
    wait_for_server(server)
    tables = server.succeed("sudo -u crystal-forge psql -U crystal_forge crystal_forge -Atc \"select count(*) from pg_tables where schemaname = 'public'\"")
    assert int(tables) > 10, tables
    server.fail("sudo -u nobody psql -w -U crystal_forge crystal_forge -c 'select 1'")
    server.fail("psql -h 127.0.0.1 -w -U crystal_forge crystal_forge -c 'select 1'")
    bound = server.succeed("sudo -u postgres psql crystal_forge -Atc 'select count(*) from pg_class where relrowsecurity and relforcerowsecurity'")
    assert int(bound) > 5, bound
    # A second start changes nothing.
    before = cf_json(server, "status")
    server.succeed("systemctl restart crystal-forge-server")
    wait_for_server(server)
    assert before["status"] == cf_json(server, "status")["status"]
  '';
}
