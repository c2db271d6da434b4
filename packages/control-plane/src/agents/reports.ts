/** A report that was verified, as it is to be recorded. Its tenant, system and host name are those of the key. */
export type VerifiedReport = {
  readonly tenant: string
  readonly system: string
  readonly hostname: string
  readonly keyId: string
  /** Of the signature that carried it; spent together with the effect. */
  readonly nonce: string
  readonly expiresAt: Date
  readonly reportId: string
  /** `either`: a heartbeat when the digest is the current one, otherwise the state that comes with it. */
  readonly kind: 'state' | 'heartbeat' | 'either'
  /** Lower-case hexadecimal. */
  readonly digest: string
  /** By the host's clock, but never after `receivedAt`. */
  readonly collectedAt: Date
  readonly receivedAt: Date
  readonly assurance: 'rfc9421' | 'legacy'
  /** The exact bytes that were signed; kept as evidence of a state. */
  readonly body: Uint8Array
  /** Null for heartbeats. */
  readonly state: StateRow | null
}

/** A row of history with the event that speaks of it. */
export type StateRow = {
  readonly id: string
  readonly changeReason: 'startup' | 'config_change' | 'state_delta' | 'cf_deployment'
  readonly currentPath: string
  readonly bootedPath: string | null
  readonly profilePath: string | null
  readonly generation: number | null
  readonly bootId: string | null
  readonly revision: string | null
  /** Null when the host could not read them, which is not "none". */
  readonly failedUnits: readonly string[] | null
  readonly agentVersion: string | null
  readonly nixosVersion: string | null
  readonly kernel: string | null
  /** Everything else that the report says, as plain JSON. */
  readonly facts: object
  readonly event: { readonly id: string; readonly body: Uint8Array }
}

/** What became of a report. `receivedAt` is the time of the first arrival, also for a duplicate. */
export type Ingested =
  | { readonly kind: 'recorded'; readonly as: 'state' | 'heartbeat'; readonly receivedAt: Date }
  | { readonly kind: 'duplicate'; readonly as: 'state' | 'heartbeat'; readonly receivedAt: Date }
  /** The signature was used before. */
  | { readonly kind: 'replayed' }
  /** A heartbeat of a state that is not the current one. */
  | { readonly kind: 'state_required' }
  /** The key or its system is no longer active. */
  | { readonly kind: 'refused' }

/**
 * Where reports go. Atomic: nonce, receipt, history, current state, evidence and event, or nothing. Two copies of one
 * request, even at the same time, are recorded once; a report id is recorded once. An older state that arrives late is
 * history and does not move the current state. Durable when the promise resolves. A rejection leaves open whether it was
 * recorded; the same report id with a new signature finds out.
 */
export type Reports = {
  ingest(report: VerifiedReport): Promise<Ingested>
}
