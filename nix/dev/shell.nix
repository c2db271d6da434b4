# `nix develop`: what the product is made with, and the commands that users of the original know.
{ pkgs }:
let
  command = name: text: pkgs.writeShellApplication { inherit name text; runtimeInputs = [ pkgs.nodejs_24 pkgs.process-compose ]; };
  # With --dev a program starts again when its source changes.
  program = name: main: command name ''
    arguments=(); watch=()
    for argument in "$@"; do if [ "$argument" = --dev ]; then watch=(--watch); else arguments+=("$argument"); fi; done
    exec node "''${watch[@]}" ${main} "''${arguments[@]}"
  '';
in
pkgs.mkShell {
  packages = [
    pkgs.nodejs_24
    pkgs.git
    pkgs.postgresql
    pkgs.process-compose
    pkgs.vulnix
    (program "run-server" "server/src/main.ts")
    (program "run-builder" "builder-agent/src/main.ts")
    (program "run-agent" "host-agent/src/main.ts")
    (program "cf" "cli/src/main.ts")
    (command "cf-keygen" ''exec node cli/src/main.ts keygen "$@"'')
    (command "server-stack" ''exec process-compose --config ${../../process-compose.yaml} "$@" server'')
    (command "full-stack" ''exec process-compose --config ${../../process-compose.yaml} "$@"'')
    (command "run-db-test" ''exec npm test -- packages/postgres functions'')
  ];
  shellHook = ''
    [ -d node_modules ] || echo 'run `npm ci` first'
  '';
}
