# Facts that rules read and that no single option states.
{ lib, config, ... }:
let
  root = config.users.users.root;
  # "!" and "*" lock an account; a hash or a file with one opens it.
  opens = hash: hash != null && !(lib.hasPrefix "!" hash) && !(lib.hasPrefix "*" hash);
  rateLimits = import ./topics/rate-limits.nix { inherit lib config; };
in
{
  crystal-forge.stig.facts = {
    # Only whether there is one: the report is readable by everyone.
    rootHasPassword = opens root.hashedPassword || opens root.initialHashedPassword
      || root.password != null || root.initialPassword != null || root.hashedPasswordFile != null;
    encryptedDevices = lib.attrNames config.boot.initrd.luks.devices;
    portsWithoutRateLimit = rateLimits.uncovered;
  };
}
