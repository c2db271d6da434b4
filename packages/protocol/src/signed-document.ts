import { EXPORT_PAYLOAD_TYPE, IN_TOTO_PAYLOAD_TYPE, JOB_PAYLOAD_TYPE, parseEnvelope } from './dsse.ts'
import { type TrustedKey, verifiedSigners } from './dsse-verify.ts'
import { type ExportManifest, readExportManifest } from './export-manifest.ts'

/** A document whose signature held: the exact bytes that were signed, to be parsed now, and who signed. */
export type VerifiedDocument = {
  readonly ok: true
  readonly payload: Uint8Array
  readonly signer: TrustedKey
}
export type RefusedDocument = {
  readonly ok: false
  readonly code: 'malformed_envelope' | 'wrong_payload_type' | 'bad_signature'
}

/**
 * Verifies a job document before a builder does anything with it: the right to write to a queue is not the right to run code.
 * @param envelope what strict JSON read.
 */
export function verifyJobDocument(
  envelope: unknown,
  trusted: readonly TrustedKey[],
): VerifiedDocument | RefusedDocument {
  return verifyDocument(envelope, JOB_PAYLOAD_TYPE, trusted)
}

/** Verifies the in-toto statement that a builder returns with its result. */
export function verifyAttestation(
  envelope: unknown,
  trusted: readonly TrustedKey[],
): VerifiedDocument | RefusedDocument {
  return verifyDocument(envelope, IN_TOTO_PAYLOAD_TYPE, trusted)
}

/** Opens the manifest of a bundle of exports, for somebody who has nothing but the bundle and a pinned key. */
export function verifyExportManifest(
  envelope: unknown,
  trusted: readonly TrustedKey[],
):
  | { readonly ok: true; readonly manifest: ExportManifest; readonly signer: TrustedKey }
  | RefusedDocument
  | { readonly ok: false; readonly code: 'malformed_manifest'; readonly detail: string } {
  const verified = verifyDocument(envelope, EXPORT_PAYLOAD_TYPE, trusted)
  if (!verified.ok) return verified
  const read = readExportManifest(verified.payload)
  return read.ok ? { ok: true, manifest: read.manifest, signer: verified.signer } : read
}

function verifyDocument(
  value: unknown,
  payloadType: string,
  trusted: readonly TrustedKey[],
): VerifiedDocument | RefusedDocument {
  const envelope = parseEnvelope(value)
  if (envelope === null) return { ok: false, code: 'malformed_envelope' }
  if (envelope.payloadType !== payloadType) return { ok: false, code: 'wrong_payload_type' }
  const [signer] = verifiedSigners(envelope, trusted)
  if (signer === undefined) return { ok: false, code: 'bad_signature' }
  return { ok: true, payload: envelope.payload, signer }
}
