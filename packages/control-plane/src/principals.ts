/** The host behind a key. Tenant and system come from the key and never from a request. */
export type AgentPrincipal = {
  readonly kind: 'agent'
  readonly tenant: string
  readonly system: string
  readonly hostname: string
  readonly keyId: string
  /** The raw 32 bytes. */
  readonly publicKey: Uint8Array
}

/** The builder behind a key. */
export type BuilderPrincipal = {
  readonly kind: 'builder'
  readonly tenant: string
  readonly builder: string
  readonly name: string
  readonly keyId: string
  readonly publicKey: Uint8Array
}

export type Principal = AgentPrincipal | BuilderPrincipal
