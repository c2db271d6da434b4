/** `exists`: somebody had stored the key before; nothing was changed. */
export type StoreOutcome = 'stored' | 'exists'

export type StreamStored = {
  readonly outcome: StoreOutcome
  readonly bytes: number
  /** Lower-case hex, of all bytes. */
  readonly sha256: string
}

/** Where a write goes and what it says about the object. */
export type Target = {
  readonly Bucket: string
  readonly Key: string
  readonly ContentType?: string
  readonly CacheControl?: string
}
