import { parseCachePublicKey, parseNarInfo, parsePublicKey, verifiedCacheKeys } from '@crystal-forge/protocol'
import { type Answer, casesOf, Facts } from './case-file.ts'

/** Whether one signature of the narinfo is valid and by a key of the file or of the case. */
export async function runNarinfo(file: unknown): Promise<readonly Answer[]> {
  const shared = keysOf(new Facts(file))
  return casesOf(file).map(({ id, facts }) => {
    const trusted = new Map([...shared, ...keysOf(facts)])
    const info = parseNarInfo(UTF8.decode(facts.bytes('narinfo')))
    if (info === null) return { id, accept: false, code: 'malformed' }
    const accept = verifiedCacheKeys(info, trusted).length > 0
    return { id, accept, code: accept ? 'accepted' : 'bad_signature' }
  })
}

/** Keys by name, or a list of `name:base64` as `trusted-public-keys` has it. */
function keysOf(facts: Facts): ReadonlyMap<string, Uint8Array> {
  const listed = facts.texts(...MEMBERS)
  const keys = facts.object(...MEMBERS)
  const trusted = new Map<string, Uint8Array>()
  for (const text of [...listed, ...keys.names().map((name) => entryOf(name, keys))]) {
    const entry = parseCachePublicKey(text)
    if (entry !== null) trusted.set(entry.name, entry.publicKey)
  }
  return trusted
}

function entryOf(name: string, keys: Facts): string {
  const text = keys.text(name) ?? keys.object(name).text('pub_b64', 'public_key') ?? ''
  return parsePublicKey(text) === null ? text : `${name}:${text}`
}

const UTF8 = new TextDecoder('utf-8', { ignoreBOM: true })
const MEMBERS = ['public_keys', 'trusted_public_keys', 'keys']
