{ lib, config, options, ... }:
let
  inherit (import ../topic.nix { inherit lib config; }) on must params;
  pollInterval = if options.services.timesyncd ? settings
    then { settings.Time.PollIntervalMaxSec = lib.mkIf (on "V-268150") (must 60); }
    else { extraConfig = lib.mkIf (on "V-268150") (lib.mkAfter "PollIntervalMaxSec=60\n"); };
in
{
  networking.timeServers = lib.mkIf (on "V-268149") (must params.timeServers);
  services.timesyncd = {
    enable = lib.mkIf (on "V-268151") (must true);
    # networking.timeServers alone may feed only the fallback list.
    servers = lib.mkIf (on "V-268149") (must params.timeServers);
  } // pollInterval;
}
