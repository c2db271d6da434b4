import { canonicalJson } from './canonical-json.ts'
import {
  type EnvelopeJson,
  EXPORT_PAYLOAD_TYPE,
  IN_TOTO_PAYLOAD_TYPE,
  JOB_PAYLOAD_TYPE,
  renderEnvelope,
} from './dsse.ts'
import { signEnvelope } from './dsse-sign.ts'
import type { ExportManifest } from './export-manifest.ts'
import type { BuildStatement } from './provenance.ts'
import type { SecretSeed } from './secret-seed.ts'

/** Signs a job document (plain JSON data) with the control plane's key. */
export function signJobDocument(job: unknown, seed: SecretSeed): EnvelopeJson {
  return signDocument(job, JOB_PAYLOAD_TYPE, seed)
}

/** Signs what a builder attests about a build. */
export function signAttestation(statement: BuildStatement, seed: SecretSeed): EnvelopeJson {
  return signDocument(statement, IN_TOTO_PAYLOAD_TYPE, seed)
}

/** Signs what a bundle of exports holds. The same manifest and key give the same bytes. */
export function signExportManifest(manifest: ExportManifest, seed: SecretSeed): EnvelopeJson {
  return signDocument(manifest, EXPORT_PAYLOAD_TYPE, seed)
}

function signDocument(document: unknown, payloadType: string, seed: SecretSeed): EnvelopeJson {
  const payload = new TextEncoder().encode(canonicalJson(document))
  return renderEnvelope(signEnvelope({ payloadType, payload }, [seed]))
}
