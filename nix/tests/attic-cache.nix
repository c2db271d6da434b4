# A second place for closures: an Attic server. The builder logs in with a token from a file and pushes what it built.
{ lib, common, ... }:
common.test "attic-cache" {
  nodes.attic = { pkgs, ... }: {
    services.atticd = {
      enable = true;
      # Made at run time by the test, before the service starts.
      environmentFile = "/run/atticd.env";
      settings = { listen = "[::]:8080"; api-endpoint = "http://attic:8080/"; };
    };
    systemd.services.atticd.wantedBy = lib.mkForce [ ];
    networking.firewall.allowedTCPPorts = [ 8080 ];
    environment.systemPackages = [ pkgs.openssl pkgs.attic-client ];
  };
  nodes.server = common.server {
    extra = {
      imports = [ common.builds ];
      services.crystal-forge.cache = { cache_type = "Attic"; push_after_build = true; push_to = "http://attic:8080"; attic_cache_name = "fleet"; attic_token_file = "/run/attic-token"; };
      # Its credential is made by the test.
      systemd.services.crystal-forge-builder.wantedBy = lib.mkForce [ ];
    };
  };
  testScript = common.prelude + ''
    start_all()
    attic.succeed("printf 'ATTIC_SERVER_TOKEN_RS256_SECRET_BASE64=%s\\n' \"$(openssl genrsa -traditional 4096 | base64 -w0)\" > /run/atticd.env")
    attic.succeed("systemctl start atticd")
    attic.wait_for_open_port(8080)
    token = attic.succeed("atticd-atticadm make-token --sub test --validity 1y --pull '*' --push '*' --create-cache '*' --configure-cache '*'").strip()
    attic.succeed(f"attic login local http://localhost:8080 {token} && attic cache create --public fleet")
    server.succeed(f"umask 077; printf '%s\\n' {token} > /run/attic-token")
    wait_for_server(server)
    server.succeed("systemctl start crystal-forge-builder")
    watch_fleet(server)
    path = built(server, "web-1")
    attic.wait_until_succeeds(f"curl -sf http://localhost:8080/fleet/{path.split('/')[-1][:32]}.narinfo", timeout=120)
    # The token is on no command line and in no log.
    server.fail(f"journalctl | grep -F '{token}'")
  '';
}
