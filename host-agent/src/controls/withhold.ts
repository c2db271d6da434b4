/** Whether a setting of this name may hold a secret, so that its value stays on the host. */
export function isSecretName(name: string): boolean {
  return SECRET.test(name)
}

/** A text in which passwords of URLs and values of `name=value` words that may be secrets are struck out. */
export function withholdSecrets(text: string): string {
  return text
    .replace(/:\/\/[^/@\s]+@/g, `://${WITHHELD}@`)
    .replace(/([A-Za-z0-9_.-]+)=("[^"]*"|[^\s"]+)/g, (whole, name: string) =>
      isSecretName(name) ? `${name}=${WITHHELD}` : whole,
    )
}

export const WITHHELD = '(withheld)'

/** A word of its own: PASS_MAX_DAYS and offline_credentials_expiration are no secrets, ldap_default_authtok is one. */
const SECRET =
  /(?:^|[_.-])(?:password|passwd|passphrase|pw|bindpw|secret|token|authtok|psk|pin|credential|setenv|set_credential|set_credential_binary|api[_-]?key|private[_-]?key|encryption[_-]?key)(?:$|[_.-])/i
