/** Why a declaration cannot be applied: which field, what value, what to do. */
export type FleetRefusal = {
  readonly code: 'unknown_flake' | 'key_in_use' | 'key_refused' | 'invalid_fleet' | 'local_needs_admin'
  /** `systems.3.public_key`. */
  readonly path: string
  readonly detail: string
}

export type FleetOptions = {
  /** Deactivate what is registered and not declared. */
  readonly prune: boolean
  /** May declare flakes that are paths of a builder's machine. */
  readonly admin: boolean
}
