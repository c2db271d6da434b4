import { verifyEd25519 } from '../ed25519-verify.ts'
import { parseDictionary } from '../structured-fields.ts'
import { signatureBase } from './base.ts'
import { fieldLines, type RequestMessage, type ResponseMessage } from './message.ts'

export type MessageVerdict = {
  readonly ok: boolean
  readonly code:
    | 'accepted'
    | 'unsigned'
    | 'malformed_signature_input'
    | 'malformed_signature'
    | 'algorithm'
    | 'unknown_key'
    | 'components'
    | 'bad_signature'
}

/**
 * RFC 9421 alone, without our profile: whether one signature of a message verifies with an Ed25519 key. No clock, no required
 * components. `verifyRequest` is what the product asks; this shows that the ground it stands on is the RFC's.
 * @param lookupKey the raw Ed25519 key of a key id (undefined when the signature names none), or null when there is none.
 */
export function verifyMessage(
  message: RequestMessage | ResponseMessage,
  label: string,
  lookupKey: (keyId: string | undefined) => Uint8Array | null,
): MessageVerdict {
  const input = memberOf(message, 'signature-input', label)
  const value = memberOf(message, 'signature', label)
  if (input === undefined || (value === undefined && input !== null)) return refused('unsigned')
  if (input?.kind !== 'inner-list') return refused('malformed_signature_input')
  if (value?.kind !== 'item' || value.value.kind !== 'bytes') return refused('malformed_signature')
  const alg = input.parameters.get('alg')
  if (alg !== undefined && (alg.kind !== 'string' || alg.value !== 'ed25519')) return refused('algorithm')
  const keyId = input.parameters.get('keyid')
  if (keyId !== undefined && keyId.kind !== 'string') return refused('malformed_signature_input')
  const publicKey = lookupKey(keyId?.value)
  if (publicKey === null) return refused('unknown_key')
  const base = signatureBase(message, input)
  if (base === null) return refused('components')
  const signed = new TextEncoder().encode(base)
  const holds = verifyEd25519({ message: signed, publicKey, signature: value.value.value })
  return holds ? { ok: true, code: 'accepted' } : refused('bad_signature')
}

/** The labels that `Signature-Input` names, in order; empty when the field is absent or malformed. */
export function signatureLabels(message: RequestMessage | ResponseMessage): readonly string[] {
  try {
    return [...parseDictionary(fieldLines(message.fields, 'signature-input').join(', ')).keys()]
  } catch {
    return []
  }
}

/** The member under a label; undefined when it is absent, null when the field is malformed. */
function memberOf(message: RequestMessage | ResponseMessage, field: string, label: string) {
  const lines = fieldLines(message.fields, field)
  if (lines.length === 0) return undefined
  try {
    return parseDictionary(lines.join(', ')).get(label)
  } catch {
    return null
  }
}

function refused(code: MessageVerdict['code']): MessageVerdict {
  return { ok: false, code }
}
