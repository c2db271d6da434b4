# Functions for modules of a site.
{ mkStigModule = import ./mk-stig-module.nix; }
