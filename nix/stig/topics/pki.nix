{ lib, config, options, ... }:
let
  inherit (import ../topic.nix { inherit lib config; }) on anyOn must params;
  pki = params.pkiAuthentication;
  # The file belongs to the site as a whole: this is a default, and the outcome is judged.
  base = options.services.sssd.config.default;
  withExpiry = lib.replaceStrings [ "[pam]\n" ] [ "[pam]\noffline_credentials_expiration = 1\n" ] base;
in
{
  services.sssd = {
    enable = lib.mkIf (on "V-268124" && pki) (must true);
    config = lib.mkIf (on "V-268178") (lib.mkDefault withExpiry);
  };
  security.pam.p11.enable = lib.mkIf (anyOn [ "V-268177" "V-268179" ] && pki) (must true);
  environment.etc = lib.mkMerge [
    (lib.mkIf (on "V-268124" && pki && params.pkiCaBundle != null) {
      "sssd/pki/sssd_auth_ca_db.pem".source = must params.pkiCaBundle;
    })
    (lib.mkIf (on "V-268179" && pki) {
      "pam_pkcs11/pam_pkcs11.conf".text = lib.mkAfter "cert_policy = ca,signature,ocsp_on, crl_auto;\n";
    })
  ];
}
