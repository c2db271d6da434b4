import {
  decodeBase64,
  publicKeyOfSpki,
  type RequestMessage,
  type ResponseMessage,
  signatureLabels,
  verifyMessage,
} from '@crystal-forge/protocol'
import { type Answer, casesOf, Facts } from './case-file.ts'

/** RFC 9421 alone, Ed25519 only: every signature of the message must verify with an Ed25519 key of the file. */
export async function runRfc9421(file: unknown): Promise<readonly Answer[]> {
  const top = new Facts(file)
  const shared = keysOf(top.object('keys'))
  return casesOf(file).map(({ id, facts }) => {
    const keys = new Map([...shared, ...keysOf(facts.object('keys'))])
    const message = messageOf(facts, top.object('messages'))
    const stated = facts.text('key', 'keyid')
    const lookup = (keyId: string | undefined): Uint8Array | null => {
      const name = keyId ?? stated
      if (name !== undefined) return keys.get(name) ?? null
      const [only] = keys.values()
      return keys.size === 1 && only !== undefined ? only : null
    }
    const named = facts.text('label')
    const found = named === undefined ? signatureLabels(message) : [named]
    // Without a label to be read, the verifier itself says whether the field is absent or malformed.
    const labels = found.length === 0 ? [''] : found
    const verdicts = labels.map((label) => verifyMessage(message, label, lookup))
    const code = verdicts.find((verdict) => !verdict.ok)?.code ?? 'accepted'
    return { id, accept: code === 'accepted', code }
  })
}

function keysOf(keys: Facts): ReadonlyMap<string, Uint8Array> {
  const found = new Map<string, Uint8Array>()
  for (const name of keys.names()) {
    const key = keys.object(name)
    const spki = decodeBase64(key.text('spki_b64') ?? '')
    const raw = decodeBase64(key.text('pub_b64', 'public_key') ?? '')
    const publicKey = spki === null ? null : publicKeyOfSpki(spki)
    if (publicKey !== null) found.set(name, publicKey)
    else if (raw !== null && raw.length === 32) found.set(name, raw)
  }
  return found
}

/** A case is a raw message, or a message of the file (or of its own) with two more header fields. */
function messageOf(facts: Facts, messages: Facts): RequestMessage | ResponseMessage {
  const raw = facts.text('raw')
  if (raw !== undefined) return withStartLine(...splitRaw(raw))
  const name = facts.text('message')
  const message = name === undefined ? facts.object('message', 'request', 'response') : messages.object(name)
  const added = [
    ['Signature-Input', facts.text('signature_input')] as const,
    ['Signature', facts.text('signature')] as const,
  ].flatMap(([field, value]) => (value === undefined ? [] : [[field, value] as const]))
  const fields = [...message.fields('fields', 'headers'), ...added]
  return withStartLine(message.text('start_line') ?? startLineOf(message), fields)
}

/** A message may be written member by member: `status`, or `method` and `target`. */
function startLineOf(message: Facts): string {
  const status = message.number('status')
  if (status !== undefined) return `HTTP/1.1 ${status}`
  return `${message.text('method') ?? ''} ${message.text('target', 'path') ?? ''} HTTP/1.1`
}

function splitRaw(raw: string): [string, (readonly [string, string])[]] {
  const [head = ''] = raw.split(/\r?\n\r?\n/, 1)
  const [start = '', ...lines] = head.replace(/\r?\n[ \t]+/g, ' ').split(/\r?\n/)
  const fields = lines.flatMap((line): (readonly [string, string])[] => {
    const colon = line.indexOf(':')
    return colon > 0 ? [[line.slice(0, colon), line.slice(colon + 1)]] : []
  })
  return [start, fields]
}

function withStartLine(
  start: string,
  fields: readonly (readonly [string, string])[],
): RequestMessage | ResponseMessage {
  const status = /^HTTP\/[0-9.]+ ([0-9]{3})/.exec(start)?.[1]
  if (status !== undefined) return { status: Number(status), fields }
  const [method = '', target = ''] = start.split(' ')
  const authority = fields.find(([name]) => name.toLowerCase() === 'host')?.[1].trim() ?? ''
  return { method, target, authority, fields }
}
