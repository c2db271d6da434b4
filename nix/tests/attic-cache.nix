# A second place for closures: an Attic server. The builder logs in with a token from a file and pushes what it built.
{ pkgs, common, ... }:
common.test "attic-cache" {
  nodes.attic = { pkgs, ... }: {
    services.atticd = {
      enable = true;
      # Made at run time by the test, before the service starts.
      environmentFile = "/run/atticd.env";
      settings = { listen = "[::]:8080"; api-endpoint = "http://attic:8080/"; };
    };
    systemd.services.atticd.wantedBy = pkgs.lib.mkForce [ ];
    networking.firewall.allowedTCPPorts = [ 8080 ];
    environment.systemPackages = [ pkgs.openssl pkgs.attic-client ];
  };
  nodes.server = common.server {
    extra = {
      services.crystal-forge = {
        build = { enable = true; local_flakes = [ "/srv/fleet" ]; sandbox = false; };
        cache = { cache_type = "Attic"; push_after_build = true; push_to = "http://attic:8080"; attic_cache_name = "fleet"; attic_token_file = "/run/attic-token"; };
      };
      systemd.services.crystal-forge-builder.wantedBy = pkgs.lib.mkForce [ ];
      nix.settings.experimental-features = [ "nix-command" "flakes" ];
    };
  };
  testScript = common.prelude + ''
    start_all()
    attic.succeed("printf 'ATTIC_SERVER_TOKEN_RS256_SECRET_BASE64=%s\n' \"$(openssl genrsa -traditional 4096 | base64 -w0)\" > /run/atticd.env")
    attic.succeed("systemctl start atticd")
    attic.wait_for_open_port(8080)
    token = attic.succeed("atticd-atticadm make-token --sub test --validity 1y --pull '*' --push '*' --create-cache '*' --configure-cache '*'").strip()
    attic.succeed(f"attic login local http://localhost:8080 {token} && attic cache create --public fleet")
    server.succeed(f"umask 077; printf '%s\n' {token} > /run/attic-token")
    wait_for_server(server)
    server.succeed("systemctl start crystal-forge-builder")
    server.succeed("cp -r ${../../test/fixtures/fleet} /srv/fleet && chmod -R u+w /srv/fleet && cd /srv/fleet && rm -f *.ts && git init -qb main && git -c user.name=t -c user.email=t@example.com add -A && git -c user.name=t -c user.email=t@example.com commit -qm fleet")
    server.succeed("printf '[[flakes]]\\nname = \"fleet\"\\nrepo_url = \"/srv/fleet\"\\nlocal = true\\npoll_interval_s = 10\\n' > /root/flake.toml")
    cf(server, "apply -f /root/flake.toml")
    server.wait_until_succeeds("test -n \"$(ls -d /nix/store/*nixos-system* | grep -v drv)\"", timeout=300)
    path = server.succeed("ls -d /nix/store/*nixos-system* | grep -v drv | head -1").strip()
    attic.wait_until_succeeds(f"curl -sf http://localhost:8080/fleet/{path.split('/')[-1][:32]}.narinfo", timeout=120)
    # The token is on no command line and in no log.
    server.fail(f"journalctl | grep -F '{token}'")
  '';
}
