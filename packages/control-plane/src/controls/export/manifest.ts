import { createHash } from 'node:crypto'
import type { ExportedFile, ExportManifest } from '@crystal-forge/protocol'
import type { AssessedHost, AssessmentSnapshot } from '../assess.ts'
import type { Catalogue } from '../catalogue.ts'
import {
  EXPORT_FORMATS,
  type ExportFormat,
  fileNameOf,
  MEDIA_TYPES,
  ONE_HOST_FORMATS,
  writeExport,
} from './formats.ts'

/**
 * What a bundle of every format holds: the documents about all hosts of the snapshot, and those of each host. Pure; each
 * document is written for its digest and let go. Names are those of `fileNameOf`.
 */
export function manifestOf(
  tenant: string,
  snapshot: AssessmentSnapshot,
  catalogue: Catalogue,
): ExportManifest {
  const digest = (format: ExportFormat, of: AssessmentSnapshot, host: AssessedHost | null): ExportedFile => {
    const document = Buffer.from(writeExport(format, of, catalogue), 'utf8')
    return {
      name: fileNameOf(format, host?.hostname ?? null),
      format,
      host: host?.hostname ?? null,
      media_type: MEDIA_TYPES[format],
      bytes: document.length,
      sha256: createHash('sha256').update(document).digest('hex'),
    }
  }
  const files = [
    ...OF_ALL.map((format) => digest(format, snapshot, null)),
    ...snapshot.hosts.flatMap((host) =>
      OF_EACH.map((format) => digest(format, snapshotOfOne(snapshot, host), host)),
    ),
  ]
  return {
    v: 1,
    tenant,
    as_of: snapshot.at.toISOString(),
    benchmark: snapshot.benchmark.id,
    release: snapshot.release.id,
    catalogue_sha256: snapshot.catalogueSha256,
    hosts: snapshot.hosts.map(({ system, hostname }) => ({ system, hostname })),
    files: files.sort((one, other) => (one.name < other.name ? -1 : 1)),
  }
}

/** The snapshot that the same question about one host would have given. */
function snapshotOfOne(snapshot: AssessmentSnapshot, host: AssessedHost): AssessmentSnapshot {
  return { ...snapshot, hosts: [host], score: host.score }
}

/** Results in OSCAL may hold many hosts, but grow with each by more than one answer of the control plane can carry. */
const OF_EACH: readonly ExportFormat[] = [...ONE_HOST_FORMATS, 'oscal-ar']
const OF_ALL = EXPORT_FORMATS.filter((format) => !OF_EACH.includes(format))
