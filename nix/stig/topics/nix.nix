{ lib, config, ... }:
let inherit (import ../topic.nix { inherit lib config; }) on must; in
{
  nix.settings = {
    # More names would be the violation, so the list is whole.
    allowed-users = lib.mkIf (on "V-268152") (must [ "root" "@wheel" ]);
    require-sigs = lib.mkIf (on "V-268154") (must true);
  };
}
