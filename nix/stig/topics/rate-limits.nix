# Rate limits of TCP ports, in the words of the firewall that is in use.
{ lib, config }:
let
  inherit (config.networking) firewall nftables;
  inherit (config.crystal-forge.stig) params;
  # The ports that the parameter names, and every other that the firewall opens.
  ports = lib.unique (lib.attrNames params.rateLimits ++ map toString firewall.allowedTCPPorts);
  limitOf = port: params.rateLimits.${port} or params.rateLimitDefault;
  # hashlimit says "1000000b/second" for bytes where nftables says "1000000 bytes/second".
  nftLimit = limit:
    let bytes = builtins.match "([0-9]+)b/(.*)" limit; in
    if bytes == null then limit else "${lib.elemAt bytes 0} bytes/${lib.elemAt bytes 1}";

  iptablesLine = port: "ip46tables --append INPUT --protocol tcp --dport ${port} --match hashlimit --hashlimit-name stig_${port} "
    + "--hashlimit-mode srcip --hashlimit-above ${limitOf port} --jump nixos-fw-refuse";
  nftLine = family: address: port: "tcp dport ${port} meter stig_${family}_${port} size 65535 { ${address} limit rate over ${nftLimit (limitOf port)} } drop";
  linesOf = port:
    if nftables.enable then [ (nftLine "v4" "ip saddr" port) (nftLine "v6" "ip6 saddr" port) ] else [ (iptablesLine port) ];
  effective = lib.splitString "\n" (if nftables.enable then firewall.extraInputRules else firewall.extraCommands);
in
{
  lines = lib.concatStringsSep "\n" (lib.concatMap linesOf ports) + "\n";
  uncovered = lib.filter (port: !lib.all (line: lib.elem line effective) (linesOf port)) ports;
}
