import type { IncomingHttpHeaders, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { OpenObject, StoredObject } from './object-file.ts'
import { header } from './request-body.ts'
import { preconditionFailed, S3Error } from './s3-error.ts'

export type ReadRequest = {
  readonly method: 'GET' | 'HEAD'
  readonly headers: IncomingHttpHeaders
  readonly query: URLSearchParams
}

/** Answers a read of an object: conditions, one range, and the body in pieces. Closes the object. */
export async function readObject(
  response: ServerResponse,
  request: ReadRequest,
  open: OpenObject,
): Promise<void> {
  try {
    const { object } = open
    if (unchanged(request.headers, object)) {
      response.writeHead(304, { etag: object.etag }).end()
      return
    }
    const range = requestedRange(header(request.headers, 'range'), object.bytes)
    const { first, last } = range ?? { first: 0, last: object.bytes - 1 }
    response.writeHead(range ? 206 : 200, {
      ...describing(object, request, !range),
      'content-length': last - first + 1,
      ...(range ? { 'content-range': `bytes ${first}-${last}/${object.bytes}` } : {}),
    })
    if (request.method === 'HEAD') response.end()
    else await pipeline(Readable.from(open.read(first, last), { objectMode: false }), response)
  } finally {
    await open.close()
  }
}

function describing(
  object: StoredObject,
  { headers, query }: ReadRequest,
  whole: boolean,
): Record<string, string> {
  const described: Record<string, string> = {
    'content-type': 'binary/octet-stream',
    ...object.headers,
    etag: object.etag,
    'last-modified': new Date(object.lastModified).toUTCString(),
    'accept-ranges': 'bytes',
  }
  if (whole && object.checksum && header(headers, 'x-amz-checksum-mode')?.toUpperCase() === 'ENABLED') {
    described[`x-amz-checksum-${object.checksum.algorithm}`] = object.checksum.value
    described['x-amz-checksum-type'] = object.checksum.type
  }
  for (const name of OVERRIDES) {
    const value = query.get(`response-${name}`)
    if (value !== null) described[name] = value
  }
  return described
}

/** RFC 9110, section 13.2.2, without dates when there is an ETag to compare. */
function unchanged(headers: IncomingHttpHeaders, object: StoredObject): boolean {
  const modified = Math.floor(Date.parse(object.lastModified) / 1000) * 1000
  const match = header(headers, 'if-match')
  if (match !== undefined && !sameEtag(match, object.etag)) throw preconditionFailed()
  const before = header(headers, 'if-unmodified-since')
  if (match === undefined && before !== undefined && modified > Date.parse(before)) throw preconditionFailed()
  const noneMatch = header(headers, 'if-none-match')
  if (noneMatch !== undefined) return sameEtag(noneMatch, object.etag)
  const since = header(headers, 'if-modified-since')
  return since !== undefined && modified <= Date.parse(since)
}

function sameEtag(list: string, etag: string): boolean {
  return list
    .split(',')
    .some(
      (one) =>
        one.trim() === '*' || one.trim().replace(/^W\//, '').replaceAll('"', '') === etag.replaceAll('"', ''),
    )
}

type Range = { readonly first: number; readonly last: number }

/** Undefined means the whole: no range, or a form that a server may ignore. */
export function requestedRange(text: string | undefined, bytes: number): Range | undefined {
  const parts = text === undefined ? null : /^bytes=(\d*)-(\d*)$/.exec(text.trim())
  if (!parts || (parts[1] === '' && parts[2] === '')) return undefined
  const [, from = '', to = ''] = parts
  const first = from === '' ? Math.max(0, bytes - Number(to)) : Number(from)
  const last = from === '' || to === '' ? bytes - 1 : Math.min(Number(to), bytes - 1)
  if (first >= bytes || (from === '' && Number(to) === 0)) {
    throw new S3Error(416, 'InvalidRange', `the object has ${bytes} bytes`)
  }
  return first > last ? undefined : { first, last }
}

const OVERRIDES = [
  'content-type',
  'content-disposition',
  'content-encoding',
  'content-language',
  'cache-control',
  'expires',
]
