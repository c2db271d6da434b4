import { createHash } from 'node:crypto'
import {
  type AssessmentSnapshot,
  type Catalogue,
  EXPORT_FORMATS,
  type ExportFormat,
  MEDIA_TYPES,
  manifestOf,
  ONE_HOST_FORMATS,
  writeExport,
} from '@crystal-forge/control-plane'
import { type Database, recordEvent } from '@crystal-forge/postgres'
import { line, type SecretSeed, signExportManifest } from '@crystal-forge/protocol'
import { problem, type Reply } from '../http-api.ts'
import {
  actorOf,
  type Context,
  type Endpoints,
  inTenant,
  type OperatorEndpoint,
  parameter,
  unknown,
} from '../operator-endpoint.ts'
import { filter, readQuery, yesNo } from '../operator-query.ts'
import { AS_OF, assessHosts, type Question, readQuestion, scoreItem } from './assessment.ts'

/** Documents for auditors, and the signed list of what a bundle of all of them holds. */
export function exportEndpoints(
  context: Context,
  catalogue: () => Catalogue,
  signingKey: SecretSeed,
): Endpoints {
  return {
    'GET /v1/exports/{format}': exports(context, catalogue),
    'GET /v1/export-manifest': exportManifest(context, catalogue, signingKey),
  }
}

const EXPORT_FILTERS = { system: filter(line(253)), fleet: filter(yesNo), ...AS_OF }

/** The document is a text inside of the answer, with the digest of its bytes. */
function exports(context: Context, catalogue: () => Catalogue): OperatorEndpoint {
  return async ({ request, operator }) => {
    const query = readQuery(request.rawQuery, EXPORT_FILTERS)
    if (!query.ok) return query.reply
    const format = EXPORT_FORMATS.find((one) => one === parameter(request, 'format'))
    if (format === undefined) return unknownFormat(parameter(request, 'format'))
    const { system } = query.filter
    if (isAmbiguous(query.filter)) return EITHER
    if (system === null && ONE_HOST_FORMATS.includes(format))
      return problem(400, 'invalid_parameter', `${format} is about one host: name it with system=<host>`)
    const read = readQuestion(context, catalogue(), query.filter)
    if (!read.ok) return read.reply
    return await inTenant(context, operator, async (transaction) => {
      const snapshot = await snapshotOf(transaction, catalogue(), { question: read.question, system })
      if (system !== null && snapshot.hosts.length === 0) return unknown('system', system)
      if (snapshot.hosts.length > FLEET_HOSTS_MAX) return tooManyHosts('document', FLEET_HOSTS_MAX)
      const document = writeExport(format, snapshot, catalogue())
      const sha256 = createHash('sha256').update(document, 'utf8').digest('hex')
      const hosts = snapshot.hosts.map((host) => host.system)
      const detail = { format, as_of: snapshot.at, release: snapshot.release.id, hosts, sha256 }
      const reply = exported(format, snapshot, { document, sha256 })
      // Who took which results out of here is evidence as well.
      if (reply.status === 200)
        await recordEvent(transaction, { type: 'control.exported', actor: actorOf(operator), detail })
      return reply
    })
  }
}

/**
 * What a bundle of all formats holds, signed. The documents themselves are asked for one by one, about the time that the
 * manifest names: they are the same bytes.
 */
function exportManifest(
  context: Context,
  catalogue: () => Catalogue,
  signingKey: SecretSeed,
): OperatorEndpoint {
  return async ({ request, operator }) => {
    const query = readQuery(request.rawQuery, EXPORT_FILTERS)
    if (!query.ok) return query.reply
    if (isAmbiguous(query.filter)) return EITHER
    const read = readQuestion(context, catalogue(), query.filter)
    if (!read.ok) return read.reply
    const { system } = query.filter
    return await inTenant(context, operator, async (transaction) => {
      const snapshot = await snapshotOf(transaction, catalogue(), { question: read.question, system })
      if (system !== null && snapshot.hosts.length === 0) return unknown('system', system)
      if (snapshot.hosts.length > BUNDLE_HOSTS_MAX) return tooManyHosts('bundle', BUNDLE_HOSTS_MAX)
      const manifest = manifestOf(operator.tenant, snapshot, catalogue())
      const tooBig = manifest.files.find(({ bytes }) => bytes > DOCUMENT_BYTES_MAX)
      if (tooBig !== undefined) return tooLarge(tooBig.name, tooBig.bytes)
      const envelope = signExportManifest(manifest, signingKey)
      const detail = {
        format: 'bundle',
        as_of: snapshot.at,
        release: snapshot.release.id,
        hosts: snapshot.hosts.map((host) => host.system),
        files: manifest.files.length,
        // Of the bytes that were signed.
        sha256: createHash('sha256').update(Buffer.from(envelope.payload, 'base64')).digest('hex'),
      }
      await recordEvent(transaction, { type: 'control.exported', actor: actorOf(operator), detail })
      const hosts = snapshot.hosts.map(({ hostname }) => hostname)
      return {
        status: 200,
        body: {
          as_of: snapshot.at,
          release: snapshot.release.id,
          hosts,
          ...scoreItem(snapshot.score),
          envelope,
        },
      }
    })
  }
}

type Chosen = { readonly system: string | null; readonly fleet: boolean | null }

function isAmbiguous({ system, fleet }: Chosen): boolean {
  return (system !== null) === (fleet === true)
}

const EITHER = problem(400, 'invalid_parameter', 'name either system=<host> or fleet=true')

function tooManyHosts(what: string, most: number): Reply {
  return problem(413, 'export_too_large', `at most ${most} hosts stand in one ${what}: export by system`)
}

function tooLarge(what: string, bytes: number): Reply {
  return problem(
    413,
    'export_too_large',
    `${what} has ${bytes} bytes; at most ${DOCUMENT_BYTES_MAX} are sent: export by system`,
  )
}

async function snapshotOf(
  database: Database,
  catalogue: Catalogue,
  { question, system }: { readonly question: Question; readonly system: string | null },
): Promise<AssessmentSnapshot> {
  const choice =
    system === null
      ? ({ kind: 'from', hostname: null, most: FLEET_HOSTS_MAX + 1 } as const)
      : ({ kind: 'one', name: system } as const)
  return await assessHosts(database, catalogue, { ...question, choice })
}

function exported(
  format: ExportFormat,
  snapshot: AssessmentSnapshot,
  { document, sha256 }: { readonly document: string; readonly sha256: string },
): Reply {
  const bytes = Buffer.byteLength(document)
  if (bytes > DOCUMENT_BYTES_MAX) return tooLarge('the document', bytes)
  return {
    status: 200,
    body: {
      format,
      media_type: MEDIA_TYPES[format],
      as_of: snapshot.at,
      release: snapshot.release.id,
      catalogue_sha256: snapshot.catalogueSha256,
      hosts: snapshot.hosts.map(({ hostname }) => hostname),
      ...scoreItem(snapshot.score),
      sha256,
      document,
    },
  }
}

function unknownFormat(format: string): Reply {
  return problem(
    404,
    'unknown_format',
    `no format is called ${JSON.stringify(format.slice(0, 40))}; there are ${EXPORT_FORMATS.join(', ')}`,
  )
}

const FLEET_HOSTS_MAX = 200
/** Each is written in five formats within one request. */
const BUNDLE_HOSTS_MAX = 100
/** A Lambda answers with 6 MB at most, and a text inside of JSON grows. */
const DOCUMENT_BYTES_MAX = 4_500_000
