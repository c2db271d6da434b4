# `nix fmt`: Nix files; everything else is formatted by `npm run check -- --fix`.
{ pkgs }:
pkgs.writeShellApplication {
  name = "format";
  runtimeInputs = [ pkgs.nixpkgs-fmt pkgs.git ];
  text = ''
    if [ $# -eq 0 ]; then mapfile -t files < <(git ls-files '*.nix'); else files=("$@"); fi
    exec nixpkgs-fmt "''${files[@]}"
  '';
}
