# The configuration of a program as a file that the program itself has read and accepted, when the system is built.
{ lib, pkgs }:
{ name, settings, check, environment ? { } }:
let
  withoutNull = value:
    if builtins.isAttrs value then lib.mapAttrs (_: withoutNull) (lib.filterAttrs (_: part: part != null && part != { }) value)
    else if builtins.isList value then map withoutNull value
    else value;
  file = (pkgs.formats.toml { }).generate "${name}-unchecked.toml" (withoutNull settings);
in
pkgs.runCommand "${name}.toml" ({
  passthru = { settings = withoutNull settings; };
  # Files that exist only on the machine are stood in for: their content is not what is checked here.
  inherit file;
} // environment) ''
  printf 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n' > key
  chmod 600 key
  export HOME=$PWD CRYSTAL_FORGE_CONFIG=$file
  ${check}
  cp $file $out
''
