{ lib, config, ... }:
let inherit (import ../topic.nix { inherit lib config; }) part params must; in
{
  environment.etc = lib.mkIf (part "aide" "V-268153") {
    "aide.conf" = { text = params.aideConfig; mode = "0444"; };
  };
  services.cron = lib.mkIf (part "cron" "V-268153") {
    enable = must true;
    systemCronJobs = [ params.integrityCheckJob ];
  };
}
