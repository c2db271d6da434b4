# Rate limits of TCP ports, in the words of the firewall that is in use. They stand before it: what it accepts, it accepts at once.
{ lib, config }:
let
  inherit (config.networking) firewall nftables;
  inherit (config.crystal-forge.stig) params;
  name = "stig-limits";
  # The ports that the parameter names, and every other that the firewall opens.
  ports = lib.unique (lib.attrNames params.rateLimits ++ map toString firewall.allowedTCPPorts);
  limitOf = port: params.rateLimits.${port} or params.rateLimitDefault;
  # hashlimit says "1000000b/second" for bytes where nftables says "1000000 bytes/second".
  nftLimit = limit:
    let bytes = builtins.match "([0-9]+)b/(.*)" limit; in
    if bytes == null then limit else "${lib.elemAt bytes 0} bytes/${lib.elemAt bytes 1}";

  iptablesLine = port: "ip46tables --append ${name} --protocol tcp --dport ${port} --match hashlimit --hashlimit-name stig_${port} "
    + "--hashlimit-mode srcip --hashlimit-above ${limitOf port} --jump DROP";
  nftLine = family: address: port: "tcp dport ${port} meter stig_${family}_${port} size 65535 { ${address} limit rate over ${nftLimit (limitOf port)} } drop";
  linesOf = port:
    if nftables.enable then [ (nftLine "v4" "ip saddr" port) (nftLine "v6" "ip6 saddr" port) ] else [ (iptablesLine port) ];
  limits = lib.concatMap linesOf ports;

  remove = ''
    ip46tables --delete INPUT --jump ${name} 2>/dev/null || true
    ip46tables --flush ${name} 2>/dev/null || true
    ip46tables --delete-chain ${name} 2>/dev/null || true
  '';
  jump = "ip46tables --insert INPUT --jump ${name}";
  chain = "type filter hook input priority filter - 10; policy accept;";

  effective = lib.splitString "\n" (if nftables.enable then (nftables.tables.${name} or { content = ""; }).content else firewall.extraCommands);
  acts = if nftables.enable then lib.any (lib.hasInfix chain) effective && (nftables.tables.${name}.enable or true) else lib.elem jump effective;
in
{
  # A chain of our own, which refers to none of the firewall's: that deletes and makes its chains anew at every reload, and stops when a rule
  # elsewhere still jumps to one. However often it runs, each rule is there once.
  start = ''
    ${remove}ip46tables --new-chain ${name}
    ${lib.concatStringsSep "\n" limits}
    ${jump}
  '';
  stop = remove;
  # A table is replaced as a whole.
  tables.${name} = {
    family = "inet";
    content = ''
      chain input {
      ${chain}
      ${lib.concatStringsSep "\n" limits}
      }
    '';
  };
  uncovered = lib.filter (port: !acts || !lib.all (line: lib.elem line effective) (linesOf port)) ports;
}
