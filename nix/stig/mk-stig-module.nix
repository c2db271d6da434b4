# Makes a module of an own control: mkStigModule { name, srgList, cciList, config, stigConfig, extraOptions } with the options
# crystal-forge.stig.<name>.{enable, justification}, the assertion of every control, and a state that follows the outcome.
{ name, srgList, cciList, config, stigConfig, extraOptions ? { } }:
{
  key = "crystal-forge/mkStigModule/${name}";
  imports = [
    ({ lib, options, config, ... }:
      let
        cfg = config.crystal-forge.stig.${name};
        reader = import ./read-option.nix { inherit lib config options; };

        # The options that stigConfig sets, found by walking the options: values carry no priority and are never walked.
        leaves = path: value: node:
          if lib.isOption node || !(builtins.isAttrs value) || value ? _type then [{ inherit path value node; }]
          else lib.concatLists (lib.mapAttrsToList (part: below: leaves (path ++ [ part ]) below (node.${part} or { })) value);
        settings = leaves [ ] stigConfig options;

        merges = node: lib.elem (node.type.name or "") [ "listOf" "attrsOf" "lazyAttrsOf" "separatedString" "submodule" "attrs" ];
        contribution = leaf:
          lib.setAttrByPath leaf.path
            (if builtins.isAttrs leaf.value && leaf.value ? _type || merges leaf.node then leaf.value else lib.mkOverride 60 leaf.value);

        bare = value: if builtins.isAttrs value && value ? _type && value ? content then bare value.content else value;
        # Lists and lines hold if all of ours are there; attribute sets if ours are.
        within = wanted: found:
          if builtins.isList wanted then builtins.isList found && lib.all (one: lib.elem one found) wanted
          else if builtins.isAttrs wanted then builtins.isAttrs found && lib.all (part: found ? ${part} && within wanted.${part} found.${part}) (lib.attrNames wanted)
          else wanted == found;
        holds = leaf:
          let
            wanted = reader.plain (bare leaf.value);
            found = reader.read { option = leaf.path; };
            lines = text: lib.filter (line: line != "") (lib.splitString "\n" text);
          in
          found ? value && (if leaf.node.type.name or "" == "separatedString" then within (lines wanted) (lines found.value) else within wanted found.value);
        values = value: lib.listToAttrs (map (leaf: { name = lib.showOption leaf.path; value = value leaf; }) settings);
        active = lib.all holds settings;
      in
      {
        options.crystal-forge.stig.${name} = extraOptions // {
          enable = lib.mkOption { type = lib.types.bool; default = true; description = "The control ${name}."; };
          justification = lib.mkOption {
            type = lib.types.listOf lib.types.str;
            default = [ ];
            description = "Why the control ${name} is disabled; must be given then.";
          };
        };
        config = lib.mkMerge (map (leaf: lib.mkIf cfg.enable (contribution leaf)) settings ++ [{
          assertions = [{
            assertion = cfg.enable || cfg.justification != [ ];
            message = "crystal-forge.stig.${name}.enable is false: say why in crystal-forge.stig.${name}.justification.";
          }];
          crystal-forge.stig.controls.${name} = {
            inherit active;
            srg = srgList;
            cci = cciList;
          } // (if active then { config = values (leaf: (reader.read { option = leaf.path; }).value); rules = [ ]; }
          else { inherit (cfg) justification; config = values (leaf: reader.plain (bare leaf.value)); rules = { }; });
        }]);
      })
  ];
}
