# A commit of a local flake is evaluated and built by the builder of the same machine, without nixpkgs.
{ common, ... }:
common.test "builder" {
  nodes.server = common.server {
    extra = {
      services.crystal-forge = {
        build = { enable = true; local_flakes = [ "/srv/fleet" ]; sandbox = false; };
      };
      nix.settings.experimental-features = [ "nix-command" "flakes" ];
    };
  };
  testScript = common.prelude + ''
    start_all()
    wait_for_server(server)
    server.wait_for_unit("crystal-forge-builder.service")
    server.wait_for_unit("crystal-forge-apply.service")
    server.succeed("cp -r ${../../test/fixtures/fleet} /srv/fleet && chmod -R u+w /srv/fleet && cd /srv/fleet && rm -f *.ts && git init -qb main && git -c user.name=t -c user.email=t@example.com add -A && git -c user.name=t -c user.email=t@example.com commit -qm fleet")
    server.succeed("printf '[[flakes]]\\nname = \"fleet\"\\nrepo_url = \"/srv/fleet\"\\nlocal = true\\npoll_interval_s = 10\\n' > /root/flake.toml")
    cf(server, "apply -f /root/flake.toml")
    server.wait_until_succeeds("CF_SERVER=http://127.0.0.1:3000 CF_TOKEN_FILE=/var/lib/crystal-forge/secrets/admin-token cf jobs --json | jq -e '[.items[] | select(.kind == \"build\" and .state == \"succeeded\")] | length > 0'", timeout=300)
    # Keys stay closed to others.
    server.fail("sudo -u nobody cat /var/lib/crystal-forge-builder/builder.key")
    assert "600" == server.succeed("stat -c %a /var/lib/crystal-forge-builder/builder.key").strip()
  '';
}
