{ lib, config, options, ... }:
let
  inherit (import ../topic.nix { inherit lib config; }) on anyOn must;
  limits = import ./rate-limits.nix { inherit lib config; };
  inherit (config.networking) nftables;
in
{
  networking.firewall = {
    enable = lib.mkIf (anyOn [ "V-268078" "V-268158" ]) (must true);
    extraCommands = lib.mkIf (on "V-268158" && !nftables.enable) limits.start;
    extraStopCommands = lib.mkIf (on "V-268158" && !nftables.enable) limits.stop;
  };
  networking.nftables = lib.optionalAttrs (options.networking.nftables ? tables) {
    tables = lib.mkIf (on "V-268158" && nftables.enable) limits.tables;
  };
}
