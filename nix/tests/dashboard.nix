# Grafana has the datasource and the dashboards, and its role reads what they show of this tenant and nothing else.
{ common, pkgs, ... }:
common.test "dashboard" {
  nodes.server = common.server {
    extra.services = {
      crystal-forge.dashboards = { enable = true; datasource.passwordFile = pkgs.writeText "password-of-a-test" "grafana"; };
      grafana.settings.security = { admin_password = "of-a-test"; secret_key = "of-a-test"; };
    };
  };
  testScript = common.prelude + ''
    start_all()
    wait_for_server(server)
    server.wait_for_unit("crystal-forge-grafana-db-init.service")
    server.wait_for_open_port(3446)
    ask = "PGPASSWORD=grafana psql -h /run/postgresql -U grafana crystal_forge -Atc "
    assert "default" == server.succeed(ask + "'select name from tenant'").strip()
    for statement in ["delete from system", "select * from api_token"]:
        server.succeed(ask + f"'{statement}' 2>&1 | grep 'permission denied'")
    grafana = "curl -sf -u admin:of-a-test http://127.0.0.1:3446/api"
    server.wait_until_succeeds(f"{grafana}/datasources/uid/crystal-forge-postgres/health | grep OK")
    for uid in ["39cb52f8-27d9-404f-81a5-8233493db1bc", "crystal-forge-controls", "crystal-forge-builders", "crystal-forge-host"]:
        server.wait_until_succeeds(f"{grafana}/dashboards/uid/{uid}")
  '';
}
