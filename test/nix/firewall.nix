# The rate limits of the STIG as both firewalls of NixOS are told them.
args@{ harness ? null, generation ? "24.11" }:
let
  world = import ./evaluate.nix args;
  configOf = site: (world.evaluate [ ../../nix/stig { config = { networking.firewall.allowedTCPPorts = [ 8443 ]; crystal-forge.stig.enforce = "report"; }; } site ]).config;
  inherit ((configOf { }).networking) firewall;
in
{
  start = firewall.extraCommands;
  stop = firewall.extraStopCommands;
  tables = builtins.mapAttrs (_: table: { inherit (table) family content; }) (configOf { networking.nftables.enable = true; }).networking.nftables.tables;
}
