# Off-loading of audit records: syslog-ng in V1R1, journald in V1R2.
{ lib, config, options, ... }:
let
  inherit (import ../topic.nix { inherit lib config; }) on anyOn must cfg params;
  journald = cfg.release != "V1R1";
  syslog = config.services.syslog-ng;
  active = cfg.release == "V1R1" && anyOn [ "V-268107" "V-268108" "V-268109" ];

  # "host" or "host:port".
  endpoint = text:
    let parts = builtins.match "(.*):([0-9]+)" text; in
    if parts == null then { host = text; port = if syslog.remote_tls then "6514" else "601"; }
    else { host = lib.elemAt parts 0; port = lib.elemAt parts 1; };
  file = name: path: lib.optionalString (path != null) "      ${name}(\"${path}\")\n";
  tls = ''
    transport(tls)
        tls(
    ${file "cert-file" syslog.certfile}${file "key-file" syslog.keyfile}${file "ca-file" syslog.cafile}      peer-verify(yes)
        )
  '';
  destination = text:
    let inherit (endpoint text) host port; in
    "  syslog(\"${host}\" port(${port}) ${if syslog.remote_tls then tls else "transport(tcp)"} );\n";
  # Each name that a log path uses is defined here.
  remote = ''
    source s_stig { system(); internal(); };
    destination d_stig_local { file("/var/log/stig/messages" owner(root) group(root) perm(0640) dir-owner(root) dir-group(root) dir-perm(0750) create-dirs(yes)); };
    log { source(s_stig); destination(d_stig_local); };
  '' + lib.optionalString (syslog.remote_hosts != [ ]) ''
    destination d_stig_remote {
    ${lib.concatMapStrings destination syslog.remote_hosts}};
    log { source(s_stig); destination(d_stig_remote); };
  '';
in
{
  options.services.syslog-ng = {
    remote_hosts = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ ];
      example = [ "logs.example.mil:6514" ];
      description = "Collectors that receive every record, as host or host:port.";
    };
    remote_tls = lib.mkOption {
      type = lib.types.bool;
      default = true;
      description = "Whether the collectors are reached, and authenticated, through TLS.";
    };
    certfile = lib.mkOption { type = lib.types.nullOr lib.types.str; default = null; description = "Certificate of this host."; };
    keyfile = lib.mkOption { type = lib.types.nullOr lib.types.str; default = null; description = "Private key of this host."; };
    cafile = lib.mkOption { type = lib.types.nullOr lib.types.str; default = null; description = "Certificates that authenticate the collectors."; };
  };

  config.services = {
    syslog-ng = {
      enable = lib.mkIf active (must true);
      extraConfig = lib.mkIf active remote;
    };
    journald = (if options.services.journald ? audit
    then { audit = lib.mkIf (journald && on "V-268107") (must true); }
    else { extraConfig = lib.mkIf (journald && on "V-268107") (lib.mkAfter "Audit=yes\n"); }) // {
      upload = {
        enable = lib.mkIf (journald && on "V-268108" && params.logCollectorUrl != null) (must true);
        settings.Upload = {
          URL = lib.mkIf (journald && on "V-268108" && params.logCollectorUrl != null) (must params.logCollectorUrl);
          TrustedCertificateFile = lib.mkIf (journald && on "V-268109" && params.logCollectorCa != null) (must params.logCollectorCa);
        };
      };
    };
  };
}
