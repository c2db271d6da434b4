{ lib, config, options, ... }:
let
  inherit (import ../topic.nix { inherit lib config; }) on anyOn must;
  inherit (import ./rate-limits.nix { inherit lib config; }) lines;
  inherit (config.networking) nftables;
in
{
  networking.firewall = {
    enable = lib.mkIf (anyOn [ "V-268078" "V-268158" ]) (must true);
    # The chain nixos-fw-refuse exists before extraCommands run.
    extraCommands = lib.mkIf (on "V-268158" && !nftables.enable) lines;
  } // lib.optionalAttrs (options.networking.firewall ? extraInputRules) {
    extraInputRules = lib.mkIf (on "V-268158" && nftables.enable) lines;
  };
}
