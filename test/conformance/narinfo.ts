import { parseNarInfo, parsePublicKey, verifiedCacheKeys } from '@crystal-forge/protocol'
import { type Answer, casesOf, Facts } from './case-file.ts'

/** Whether one signature of the narinfo is valid and by a key of the file. */
export async function runNarinfo(file: unknown): Promise<readonly Answer[]> {
  const keys = new Facts(file).object('public_keys', 'keys')
  const trusted = new Map<string, Uint8Array>()
  for (const name of keys.names()) {
    const text = keys.text(name) ?? keys.object(name).text('pub_b64') ?? ''
    const publicKey = parsePublicKey(text.startsWith(`${name}:`) ? text.slice(name.length + 1) : text)
    if (publicKey !== null) trusted.set(name, publicKey)
  }
  return casesOf(file).map(({ id, facts }) => {
    const info = parseNarInfo(facts.text('narinfo') ?? '')
    if (info === null) return { id, accept: false, code: 'malformed' }
    const accept = verifiedCacheKeys(info, trusted).length > 0
    return { id, accept, code: accept ? 'accepted' : 'bad_signature' }
  })
}
