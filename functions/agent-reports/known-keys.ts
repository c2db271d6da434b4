import type { AgentPrincipal } from '@crystal-forge/control-plane'
import type { FindKey } from '../signed-caller.ts'

export type KnownKeys = {
  readonly find: FindKey<AgentPrincipal>
  /** The database refused this key: ask again next time. */
  forget(keyId: string): void
}

/**
 * Remembers who is behind a key. That never changes: a key id is the digest of its key and stays with its system. Whether
 * the key is still active is not remembered but checked by the statement that records the report, so a revocation holds
 * for the very next one. Only active keys are kept; the least recently used leave first.
 */
export function knownKeys(find: FindKey<AgentPrincipal>, keysMax: number = KEYS_MAX): KnownKeys {
  const known = new Map<string, NonNullable<Awaited<ReturnType<typeof find>>>>()
  return {
    find: async (keyId) => {
      const record = known.get(keyId) ?? (await find(keyId))
      if (record?.status !== 'active') return record
      known.delete(keyId)
      known.set(keyId, record)
      for (const oldest of known.keys()) {
        if (known.size <= keysMax) break
        known.delete(oldest)
      }
      return record
    },
    forget: (keyId) => {
      known.delete(keyId)
    },
  }
}

/** A large fleet, at about 300 bytes each. */
const KEYS_MAX = 20_000
