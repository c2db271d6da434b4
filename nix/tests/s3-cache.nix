# What the builder built is in the bucket, signed, and another host takes it from there without asking the control plane.
{ common, ... }:
common.test "s3-cache" {
  nodes.server = common.server {
    extra = {
      services.crystal-forge.build = { enable = true; local_flakes = [ "/srv/fleet" ]; sandbox = false; };
      nix.settings.experimental-features = [ "nix-command" "flakes" ];
    };
  };
  testScript = common.prelude + ''
    start_all()
    wait_for_server(server)
    server.wait_for_unit("crystal-forge-builder.service")
    server.succeed("cp -r ${../../test/fixtures/fleet} /srv/fleet && chmod -R u+w /srv/fleet && cd /srv/fleet && rm -f *.ts && git init -qb main && git -c user.name=t -c user.email=t@example.com add -A && git -c user.name=t -c user.email=t@example.com commit -qm fleet")
    server.succeed("printf '[[flakes]]\\nname = \"fleet\"\\nrepo_url = \"/srv/fleet\"\\nlocal = true\\npoll_interval_s = 10\\n' > /root/flake.toml")
    cf(server, "apply -f /root/flake.toml")
    started = json.loads(server.succeed("cat /var/lib/crystal-forge/server.json"))
    server.wait_until_succeeds("CF_SERVER=http://127.0.0.1:3000 CF_TOKEN_FILE=/var/lib/crystal-forge/secrets/admin-token cf jobs --json | jq -e '[.items[] | select(.kind == \"build\" and .state == \"succeeded\")] | length > 0'", timeout=300)
    path = server.succeed("ls -d /nix/store/*nixos-system* | grep -v drv | head -1").strip()
    name = path.split("/")[-1][:32]
    narinfo = server.succeed(f"curl -sf {started['cacheUrl']}/{name}.narinfo")
    assert "Sig: " in narinfo, narinfo
    server.succeed(f"nix copy --from '{started['cacheUrl']}' --to /tmp/other --option trusted-public-keys '{started['cachePublicKey']}' {path}")
  '';
}
