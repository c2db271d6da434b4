# The options as data, for docs/options.md.
args@{ harness ? null, generation ? "24.11" }:
let
  world = import ./evaluate.nix args;
  inherit (world) lib;
  module = world.evaluate [ ../../nix/modules/crystal-forge ../../nix/stig { crystal-forge.stig.enforce = "report"; } ];
  catalogue = import ../../nix/stig/catalogue.nix { inherit lib; };

  hidden = option: option.internal or false || option.visible or true == false;
  submodulesOf = type: type.submodules or (if type ? inner then submodulesOf type.inner else [ ]);
  element = path: type: if type.name or "" == "listOf" then path ++ [ "*" ] else if type.name or "" == "attrsOf" then path ++ [ "<name>" ] else path;
  default = option:
    if option ? defaultText then option.defaultText.text or option.defaultText
    else if !(option ? default) then null
    else builtins.toJSON option.default;
  collect = path: node:
    if lib.isOption node then
      lib.optionals (!hidden node) ([{
        option = lib.showOption path;
        type = node.type.description or node.type.name;
        default = default node;
        description = node.description or "";
        readOnly = node.readOnly or false;
      }] ++ (
        let
          inner = submodulesOf node.type;
          # The types of nixpkgs tell their options themselves.
          own = if harness == null then lib.optionalAttrs (inner != [ ]) (lib.evalModules { modules = inner; }).options
            else removeAttrs (node.type.getSubOptions [ ]) [ "_module" "_freeformOptions" ];
        in
        collect (element path node.type) own
      ))
    else lib.concatMap (name: collect (path ++ [ name ]) node.${name}) (lib.attrNames node);

  stig = removeAttrs module.options.crystal-forge.stig ([ "rules" "params" ] ++ lib.attrNames catalogue.aliases);
  oneRule = module.options.crystal-forge.stig.rules."V-268078";
in
{
  service = collect [ "services" "crystal-forge" ] module.options.services.crystal-forge;
  stig = collect [ "crystal-forge" "stig" ] stig;
  params = collect [ "crystal-forge" "stig" "params" ] module.options.crystal-forge.stig.params;
  presets = collect [ "crystal-forge" "stig-presets" ] module.options.crystal-forge.stig-presets;
  syslog = lib.concatMap (name: collect [ "services" "syslog-ng" name ] module.options.services.syslog-ng.${name}) [ "remote_hosts" "remote_tls" "certfile" "keyfile" "cafile" ];
  rule = map (one: one // { option = lib.replaceStrings [ "V-268078" ] [ "V-…" ] one.option; description = lib.replaceStrings [ "V-268078" ] [ "the rule" ] (lib.head (lib.splitString ": " one.description)); })
    (collect [ "crystal-forge" "stig" "rules" "V-268078" ] oneRule);
  controls = lib.mapAttrsToList (name: alias: { inherit name; inherit (alias) rules; }) catalogue.aliases;
  rules = lib.mapAttrsToList
    (id: rule: {
      inherit id;
      inherit (rule) severity;
      inherit (rule.assess.config) mode;
      title = (lib.last (lib.filter lib.isAttrs (lib.attrValues rule.releases))).title;
      releases = lib.attrNames (lib.filterAttrs (_: lib.isAttrs) rule.releases);
    })
    catalogue.rules;
}
