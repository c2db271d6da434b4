{ lib, config, ... }:
let
  inherit (import ../topic.nix { inherit lib config; }) on;
  lines = lib.mapAttrs (_: value: value.is) (lib.filterAttrs (_: value: on value.of) {
    ucredit = { of = "V-268126"; is = -1; };
    lcredit = { of = "V-268127"; is = -1; };
    dcredit = { of = "V-268128"; is = -1; };
    difok = { of = "V-268129"; is = 8; };
    minlen = { of = "V-268134"; is = 15; };
    ocredit = { of = "V-268145"; is = -1; };
    dictcheck = { of = "V-268169"; is = 1; };
  });
in
{
  # The one writer of the file; lines of the site merge with these, and the last of a key counts.
  environment.etc = lib.mkIf (lines != { }) {
    "security/pwquality.conf".text = lib.mkAfter
      (lib.concatStrings (lib.mapAttrsToList (key: value: "${key} = ${toString value}\n") lines));
  };
}
