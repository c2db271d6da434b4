import * as z from 'zod'
import { decodeBase64Either, encodeBase64 } from './base64.ts'

/** A DSSE 1.0.2 envelope with its payload decoded. `bytes` null: a signature that is not base64, which no key can have made. */
export type Envelope = {
  readonly payloadType: string
  readonly payload: Uint8Array
  readonly signatures: readonly { readonly keyId: string | null; readonly bytes: Uint8Array | null }[]
}

/** The JSON of an envelope. */
export type EnvelopeJson = {
  readonly payloadType: string
  readonly payload: string
  readonly signatures: readonly { readonly keyid?: string | undefined; readonly sig: string }[]
}

/** The pre-authentication encoding: the bytes that every signature of an envelope is over. */
export function preAuthEncoding(payloadType: string, payload: Uint8Array): Uint8Array {
  const type = new TextEncoder().encode(payloadType)
  const head = `DSSEv1 ${type.length} ${payloadType} ${payload.length} `
  return new Uint8Array(Buffer.concat([Buffer.from(head), payload]))
}

/**
 * Reads an envelope that strict JSON has parsed. Both base64 alphabets are taken, fields beside the three are ignored, as DSSE asks.
 * @returns null when it is not an envelope or exceeds the limits below.
 */
export function parseEnvelope(value: unknown): Envelope | null {
  const parsed = envelopeJson.safeParse(value)
  if (!parsed.success) return null
  const payload = decodeBase64Either(parsed.data.payload)
  if (payload === null) return null
  const signatures = parsed.data.signatures.map(({ keyid, sig }) => ({
    keyId: keyid === undefined || keyid === '' ? null : keyid,
    bytes: decodeBase64Either(sig),
  }))
  return { payloadType: parsed.data.payloadType, payload, signatures }
}

export function renderEnvelope(envelope: Envelope): EnvelopeJson {
  return {
    payloadType: envelope.payloadType,
    payload: encodeBase64(envelope.payload),
    signatures: envelope.signatures.flatMap(({ keyId, bytes }) => {
      if (bytes === null) return []
      return [keyId === null ? { sig: encodeBase64(bytes) } : { keyid: keyId, sig: encodeBase64(bytes) }]
    }),
  }
}

/** Payload types that we sign. */
export const DEPLOYMENT_PAYLOAD_TYPE = 'application/vnd.crystalforge.deployment.v1+json'
export const JOB_PAYLOAD_TYPE = 'application/vnd.crystalforge.job.v1+json'
export const EXPORT_PAYLOAD_TYPE = 'application/vnd.crystalforge.export.v1+json'
export const IN_TOTO_PAYLOAD_TYPE = 'application/vnd.in-toto+json'

/** A director and a dozen operators fit; each signature costs up to one verification a key. */
const SIGNATURES_MAX = 32
/** 1 MiB of payload in base64; the limits of each document are smaller. */
const PAYLOAD_CHARACTERS_MAX = 1_400_000

const envelopeJson = z.object({
  payloadType: z.string().min(1).max(256),
  payload: z.string().max(PAYLOAD_CHARACTERS_MAX),
  signatures: z
    .array(z.object({ keyid: z.string().max(256).optional(), sig: z.string().max(1024) }))
    .min(1)
    .max(SIGNATURES_MAX),
})
