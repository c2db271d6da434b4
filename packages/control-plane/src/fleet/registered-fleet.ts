import type { FlakeSource } from '@crystal-forge/protocol'

/** What a tenant has registered, in the words of a declaration. Inactive entries are in it too. */
export type RegisteredFleet = {
  readonly environments: readonly RegisteredEnvironment[]
  readonly flakes: readonly RegisteredFlake[]
  readonly hooks: readonly RegisteredHook[]
  readonly builders: readonly RegisteredBuilder[]
  readonly systems: readonly RegisteredSystem[]
  /** Every key, active or revoked, of the systems and builders above and of whoever else has a declared one. */
  readonly keys: readonly RegisteredKey[]
}

export type RegisteredEnvironment = {
  readonly name: string
  readonly description: string
  readonly isActive: boolean
  readonly riskProfile: string
  readonly complianceLevel: string
}
export type RegisteredFlake = {
  readonly name: string
  readonly repoUrl: string
  readonly source: FlakeSource
  readonly branch: string
  readonly autoPoll: boolean
  readonly pollIntervalS: number
  readonly initialCommitDepth: number
  readonly active: boolean
}
export type RegisteredHook = {
  readonly flake: string
  readonly provider: string
  readonly id: string
  readonly active: boolean
  /** Opened in memory to see whether it changed; null when it could not be opened. */
  readonly secret: string | null
}
export type RegisteredBuilder = { readonly name: string; readonly active: boolean }
export type RegisteredSystem = {
  readonly hostname: string
  readonly environment: string | null
  readonly flake: string | null
  readonly configuration: string | null
  readonly policy: string
  readonly desiredTarget: string | null
  readonly active: boolean
}
export type RegisteredKey = {
  readonly owner: 'system' | 'builder'
  /** Host or builder name. */
  readonly name: string
  /** Base64, as it is declared. */
  readonly publicKey: string
  readonly keyId: string
  readonly active: boolean
}
