# Grafana has the datasource, and its role reads the dashboards' views and nothing else.
{ common, pkgs, ... }:
common.test "dashboard" {
  nodes.server = common.server {
    extra.services.crystal-forge.dashboards = { enable = true; datasource.passwordFile = pkgs.writeText "password-of-a-test" "grafana"; };
  };
  testScript = common.prelude + ''
    start_all()
    wait_for_server(server)
    server.wait_for_unit("crystal-forge-grafana-db-init.service")
    server.wait_for_open_port(3446)
    ask = "PGPASSWORD=grafana psql -h /run/postgresql -U grafana crystal_forge -Atc "
    server.succeed(ask + "'select 1'")
    server.fail(ask + "'delete from system'")
    server.fail(ask + "'select * from api_token'")
  '';
}
