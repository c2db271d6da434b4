# Packages that have a name and nothing else. Files made from text remember it.
{ lib }:
let
  package = name: {
    type = "derivation";
    inherit name;
    pname = name;
    version = "1";
    outPath = "/nix/store/00000000000000000000000000000000-${name}";
    drvPath = "/nix/store/00000000000000000000000000000000-${name}.drv";
    lib = package "${name}-lib" // { outPath = "/nix/store/00000000000000000000000000000000-${name}-lib"; };
    meta.mainProgram = name;
  };
  names = [
    "aide" "attic-client" "audit" "bash" "busybox" "coreutils" "crystal-forge-agent" "crystal-forge-builder" "crystal-forge-dashboards" "crystal-forge-server"
    "cf" "git" "gnutar" "hello" "inetutils" "jq" "libpwquality" "nix" "nodejs_24" "opencryptoki" "opensc" "openssh" "pam" "pam_p11" "postgresql" "shadow" "systemd"
    "util-linux" "vlock" "vulnix" "zstd"
  ];
in
lib.genAttrs names package // {
  inherit lib;
  callPackage = file: _: package (lib.removeSuffix ".nix" (baseNameOf file));
  writeText = name: text: package name // { inherit text; };
  writeShellScript = name: text: package name // { inherit text; };
  runCommand = name: env: text: package name // env // { inherit text; };
  formats = {
    toml = { }: { type = lib.types.attrsOf lib.types.anything; generate = name: value: package name // { text = builtins.toJSON value; }; };
    json = { }: { type = lib.types.attrsOf lib.types.anything; generate = name: value: package name // { text = builtins.toJSON value; }; };
  };
  stdenv.hostPlatform.system = "x86_64-linux";
}
