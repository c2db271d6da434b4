# What the builder built is in the bucket, signed, and another store takes it from there without asking the control plane.
{ common, ... }:
common.test "s3-cache" {
  nodes.server = common.server { extra = common.builds; };
  testScript = common.prelude + ''
    start_all()
    wait_for_server(server)
    server.wait_for_unit("crystal-forge-builder.service")
    watch_fleet(server)
    path = built(server, "web-1")
    started = json.loads(server.succeed("cat /var/lib/crystal-forge/server.json"))
    narinfo = server.succeed(f"curl -sf {started['cacheUrl']}/{path.split('/')[-1][:32]}.narinfo")
    assert "Sig: " in narinfo, narinfo
    copy = f"nix copy --from '{started['cacheUrl']}' --option require-sigs true"
    server.succeed(f"{copy} --to /tmp/other --option trusted-public-keys '{started['cachePublicKey']}' {path}")
    server.succeed(f"test -e /tmp/other{path}/etc/hostname")
    # Another key does not do.
    server.fail(f"{copy} --to /tmp/third --option trusted-public-keys 'other-1:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=' {path}")
  '';
}
