import type { AssessmentSnapshot } from '../assess.ts'
import type { Catalogue } from '../catalogue.ts'
import { writeCkl } from './ckl.ts'
import { writeCklb } from './cklb.ts'
import { writeEmass } from './emass.ts'
import { writeHdf } from './hdf.ts'
import { writeOscalComponent, writeOscalPoam, writeOscalResults } from './oscal.ts'
import { writeXccdf } from './xccdf.ts'

export const EXPORT_FORMATS = [
  'cklb',
  'ckl',
  'xccdf',
  'hdf',
  'oscal-ar',
  'oscal-cd',
  'oscal-poam',
  'emass',
] as const
export type ExportFormat = (typeof EXPORT_FORMATS)[number]

/** These are about one host each; the others hold any number. */
export const ONE_HOST_FORMATS: readonly ExportFormat[] = ['cklb', 'ckl', 'xccdf', 'hdf']

export const MEDIA_TYPES: Readonly<Record<ExportFormat, string>> = {
  cklb: 'application/json',
  ckl: 'application/xml',
  xccdf: 'application/xml',
  hdf: 'application/json',
  'oscal-ar': 'application/json',
  'oscal-cd': 'application/json',
  'oscal-poam': 'application/json',
  emass: 'text/csv; charset=utf-8',
}

/** The name of a document as a file: of one host, or of all that were chosen. */
export function fileNameOf(format: ExportFormat, hostname: string | null): string {
  return hostname === null ? FILES[format] : `${hostname}.${FILES[format]}`
}

const FILES: Readonly<Record<ExportFormat, string>> = {
  cklb: 'cklb',
  ckl: 'ckl',
  xccdf: 'xccdf.xml',
  hdf: 'hdf.json',
  'oscal-ar': 'oscal-ar.json',
  'oscal-cd': 'oscal-cd.json',
  'oscal-poam': 'oscal-poam.json',
  emass: 'emass.csv',
}

/**
 * A snapshot as a document. Pure: the same snapshot and catalogue give the same bytes.
 * @throws {RangeError} when a format of one host is asked for another number of hosts.
 */
export function writeExport(
  format: ExportFormat,
  snapshot: AssessmentSnapshot,
  catalogue: Catalogue,
): string {
  switch (format) {
    case 'cklb':
      return writeCklb(snapshot, onlyHost(format, snapshot))
    case 'ckl':
      return writeCkl(snapshot, onlyHost(format, snapshot))
    case 'xccdf':
      return writeXccdf(snapshot, onlyHost(format, snapshot))
    case 'hdf':
      return writeHdf(snapshot, onlyHost(format, snapshot), catalogue)
    case 'oscal-ar':
      return writeOscalResults(snapshot, catalogue)
    case 'oscal-cd':
      return writeOscalComponent(snapshot, catalogue)
    case 'oscal-poam':
      return writeOscalPoam(snapshot)
    case 'emass':
      return writeEmass(snapshot, catalogue)
  }
}

function onlyHost(format: ExportFormat, { hosts }: AssessmentSnapshot): AssessmentSnapshot['hosts'][number] {
  const [host] = hosts
  if (host === undefined || hosts.length !== 1)
    throw new RangeError(`${format} is about one host, and ${hosts.length} were chosen`)
  return host
}
