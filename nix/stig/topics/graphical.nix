{ lib, config, options, ... }:
let
  inherit (import ../topic.nix { inherit lib config; }) on must;
  hasScreen = config.services.displayManager.enable;
  lock = on "V-268086" && hasScreen;
  autoLogin = if options.services ? displayManager && options.services.displayManager ? autoLogin then [ "displayManager" ] else [ "xserver" "displayManager" ];
in
{
  services = lib.mkMerge [
    (if options.services.logind ? settings then {
      logind.settings.Login = { IdleAction = lib.mkIf lock (must "lock"); IdleActionSec = lib.mkIf lock (must "600"); };
    } else {
      logind.extraConfig = lib.mkIf lock (lib.mkAfter "IdleAction=lock\nIdleActionSec=600\n");
    })
    { getty.autologinUser = lib.mkIf (on "V-268172") (must null); }
    (lib.setAttrByPath (autoLogin ++ [ "autoLogin" "user" ]) (lib.mkIf (on "V-268172") (must null)))
  ];

  # First in the list: the first database that locks a key decides.
  programs.dconf.profiles.user.databases = lib.mkIf lock (lib.mkBefore [{
    settings."org/gnome/desktop/session".idle-delay = lib.gvariant.mkUint32 600;
    locks = [ "/org/gnome/desktop/session/idle-delay" ];
  }]);
}
