# Importable names. All begin with `stig`, and importing several of them is importing one.
{
  stig = ./default.nix;
  stig-presets = ./default.nix;
}
