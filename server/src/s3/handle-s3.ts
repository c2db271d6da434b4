import { randomUUID } from 'node:crypto'
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import { buffer } from 'node:stream/consumers'
import type { StoredObject } from './object-file.ts'
import type { ObjectStore, WriteCondition } from './object-store.ts'
import { refuseExpired } from './presigned.ts'
import { readObject } from './read-object.ts'
import { header, requestBody } from './request-body.ts'
import { notImplemented, S3Error } from './s3-error.ts'
import type { Uploads } from './uploads.ts'
import { elements, elementText, type Xml, xmlDocument } from './xml.ts'

export type S3Context = { readonly store: ObjectStore; readonly uploads: Uploads; readonly now: () => Date }

type Call = {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly bucket: string
  readonly key: string
  readonly query: URLSearchParams
}

/**
 * The part of the S3 protocol that the product uses, path style, without authentication: buckets, objects, conditional
 * writes, checksums, ranges, listings, multipart uploads, the expiry of presigned URLs. Everything else is 501, because a silent
 * yes to a policy or a tag would be a lie.
 */
export async function handleS3(
  context: S3Context,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  response.setHeader('x-amz-request-id', randomUUID())
  try {
    const call = readCall(request, response)
    refuseUnknownQuery(call.query)
    refuseExpired(call.query, context.now())
    if (header(request.headers, 'x-amz-copy-source') !== undefined) throw notImplemented('copies')
    await (call.key === '' ? bucketCall(context, call) : objectCall(context, call))
  } catch (error) {
    answerError(request, response, error)
  }
}

function readCall(request: IncomingMessage, response: ServerResponse): Call {
  const [path = '', search = ''] = (request.url ?? '/').split(/\?(.*)/s)
  const [, bucket = '', key = ''] = /^\/([^/]*)\/?(.*)$/s.exec(path) ?? []
  try {
    return { request, response, bucket, key: decodeURIComponent(key), query: new URLSearchParams(search) }
  } catch {
    throw new S3Error(400, 'InvalidURI', 'the path holds a "%" that encodes nothing')
  }
}

function refuseUnknownQuery(query: URLSearchParams): void {
  for (const name of query.keys()) {
    if (!KNOWN_QUERY.has(name) && !/^(?:x-amz-|response-)/i.test(name)) throw notImplemented(`?${name}`)
  }
}

async function bucketCall(context: S3Context, call: Call): Promise<void> {
  const { store } = context
  const { request, response, bucket, query } = call
  if (bucket === '') return listBuckets(store, response, request.method)
  switch (request.method) {
    case 'PUT':
      await store.createBucket(bucket)
      response.writeHead(200, { location: `/${bucket}` }).end()
      return
    case 'HEAD':
      await store.requireBucket(bucket)
      response.writeHead(200).end()
      return
    case 'DELETE':
      await store.deleteBucket(bucket)
      response.writeHead(204).end()
      return
    case 'GET':
      if (query.has('location')) return location(store, call)
      return listObjects(store, call)
    case 'POST':
      if (query.has('delete')) return deleteObjects(store, call)
      throw notImplemented('this POST on a bucket')
    default:
      throw methodNotAllowed(request.method)
  }
}

async function objectCall(context: S3Context, call: Call): Promise<void> {
  const { store, uploads } = context
  const { request, response, bucket, key, query } = call
  const uploadId = query.get('uploadId')
  switch (request.method) {
    case 'GET':
    case 'HEAD': {
      if (uploadId !== null || query.has('partNumber')) throw notImplemented('reading parts')
      const { method, headers } = request
      return readObject(response, { method, headers, query }, await store.get(bucket, key))
    }
    case 'PUT':
      if (uploadId !== null) return uploadPart(context, call, uploadId)
      return putObject(context, call)
    case 'DELETE':
      await (uploadId === null ? store.delete(bucket, key) : uploads.abort(uploadId))
      response.writeHead(204).end()
      return
    case 'POST':
      if (uploadId !== null) return completeUpload(context, call, uploadId)
      if (query.has('uploads')) return beginUpload(context, call)
      throw notImplemented('this POST on an object')
    default:
      throw methodNotAllowed(request.method)
  }
}

async function listBuckets(
  store: ObjectStore,
  response: ServerResponse,
  method: string | undefined,
): Promise<void> {
  if (method !== 'GET') throw methodNotAllowed(method)
  const names = await store.buckets()
  sendXml(response, 'ListAllMyBucketsResult', [
    ['Buckets', names.map((name) => ['Bucket', [['Name', name]]] as const)],
  ])
}

async function location(store: ObjectStore, { bucket, response }: Call): Promise<void> {
  await store.requireBucket(bucket)
  sendXml(response, 'LocationConstraint', '')
}

async function listObjects(store: ObjectStore, { bucket, query, response }: Call): Promise<void> {
  if (query.get('list-type') !== '2') throw notImplemented('listings other than version 2')
  const encode = query.get('encoding-type') === 'url' ? encodeURIComponent : (text: string) => text
  const token = query.get('continuation-token')
  const after = token === null ? (query.get('start-after') ?? '') : Buffer.from(token, 'base64url').toString()
  const prefix = query.get('prefix') ?? ''
  const max = Math.min(LIST_MAX, Number(query.get('max-keys') ?? LIST_MAX))
  const listed = await store.list(bucket, { prefix, after, delimiter: query.get('delimiter') ?? '', max })
  sendXml(response, 'ListBucketResult', [
    ['Name', bucket],
    ['Prefix', encode(prefix)],
    ['MaxKeys', max],
    ['KeyCount', listed.objects.length + listed.prefixes.length],
    ['IsTruncated', listed.next !== undefined],
    ...(listed.next === undefined
      ? []
      : [['NextContinuationToken', Buffer.from(listed.next).toString('base64url')] as const]),
    ...listed.objects.map((object) => ['Contents', listedObject(object, encode)] as const),
    ...listed.prefixes.map((common) => ['CommonPrefixes', [['Prefix', encode(common)]]] as const),
  ])
}

function listedObject(object: StoredObject, encode: (text: string) => string): Xml {
  return [
    ['Key', encode(object.key)],
    ['LastModified', object.lastModified],
    ['ETag', object.etag],
    ['Size', object.bytes],
    ['StorageClass', 'STANDARD'],
  ]
}

async function deleteObjects(store: ObjectStore, { bucket, request, response }: Call): Promise<void> {
  const xml = await smallBody(request)
  const keys = elements(xml, 'Object').map((object) => elementText(object, 'Key') ?? '')
  for (const key of keys) await store.delete(bucket, key)
  sendXml(
    response,
    'DeleteResult',
    keys.map((key) => ['Deleted', [['Key', key]]] as const),
  )
}

async function putObject({ store, now }: S3Context, call: Call): Promise<void> {
  const { request, response, bucket, key } = call
  if (Buffer.byteLength(key) > KEY_BYTES_MAX)
    throw new S3Error(400, 'KeyTooLongError', 'a key has at most 1024 bytes')
  const body = requestBody(rawBody(request), request.headers)
  let etag = ''
  await store.put(bucket, key, {
    body: body.content,
    condition: writeCondition(request.headers),
    describe: () => {
      const { md5, checksum } = body.verify()
      etag = `"${md5}"`
      const kept = checksum ? { checksum: { ...checksum, type: 'FULL_OBJECT' as const } } : {}
      return { key, etag, lastModified: now().toISOString(), headers: keptHeaders(request.headers), ...kept }
    },
  })
  response.writeHead(200, { etag }).end()
}

function writeCondition(headers: IncomingHttpHeaders): WriteCondition {
  const noneMatch = header(headers, 'if-none-match')
  const match = header(headers, 'if-match')
  if (noneMatch === '*') return { kind: 'absent' }
  if (noneMatch !== undefined) throw notImplemented('If-None-Match with anything but *')
  return match === undefined
    ? { kind: 'none' }
    : { kind: 'etag', etag: match.includes('"') ? match : `"${match}"` }
}

function keptHeaders(headers: IncomingHttpHeaders): Record<string, string> {
  const kept: Record<string, string> = {}
  for (const name of Object.keys(headers)) {
    if (!KEPT_HEADERS.has(name) && !name.startsWith('x-amz-meta-')) continue
    const value = name === 'content-encoding' ? withoutChunked(header(headers, name)) : header(headers, name)
    if (value) kept[name] = value
  }
  return kept
}

function withoutChunked(value = ''): string {
  return value
    .split(',')
    .map((coding) => coding.trim())
    .filter((coding) => coding !== 'aws-chunked')
    .join(', ')
}

async function beginUpload({ uploads }: S3Context, { request, response, bucket, key }: Call): Promise<void> {
  const id = await uploads.begin({ bucket, key, headers: keptHeaders(request.headers) })
  sendXml(response, 'InitiateMultipartUploadResult', [
    ['Bucket', bucket],
    ['Key', key],
    ['UploadId', id],
  ])
}

async function uploadPart(
  { uploads, now }: S3Context,
  { request, response, query }: Call,
  id: string,
): Promise<void> {
  const body = requestBody(rawBody(request), request.headers)
  const { etag, checksum } = await uploads.part(id, Number(query.get('partNumber')), body, now())
  response
    .writeHead(200, {
      etag,
      ...(checksum ? { [`x-amz-checksum-${checksum.algorithm}`]: checksum.value } : {}),
    })
    .end()
}

async function completeUpload({ uploads, now }: S3Context, call: Call, id: string): Promise<void> {
  const { request, response, bucket, key } = call
  const xml = await smallBody(request)
  const names = elements(xml, 'Part').map((part) => ({
    number: Number(elementText(part, 'PartNumber')),
    etag: elementText(part, 'ETag') ?? '',
  }))
  const { etag, checksum } = await uploads.complete(id, names, {
    condition: writeCondition(request.headers),
    now: now(),
  })
  sendXml(response, 'CompleteMultipartUploadResult', [
    ['Location', `/${bucket}/${key}`],
    ['Bucket', bucket],
    ['Key', key],
    ['ETag', etag],
    ...(checksum === undefined
      ? []
      : [['ChecksumSHA256', checksum] as const, ['ChecksumType', 'COMPOSITE'] as const]),
  ])
}

/** The default iterator would close the connection when the body is refused, and with it the answer. */
function rawBody(request: IncomingMessage): AsyncIterable<Uint8Array> {
  return request.iterator({ destroyOnReturn: false })
}

async function smallBody(request: IncomingMessage): Promise<string> {
  const length = Number(request.headers['content-length'] ?? 0)
  if (length > XML_BYTES_MAX)
    throw new S3Error(400, 'MalformedXML', `the document is larger than ${XML_BYTES_MAX} bytes`)
  return (await buffer(request)).toString()
}

function sendXml(response: ServerResponse, name: string, content: Xml): void {
  response.writeHead(200, { 'content-type': 'application/xml' }).end(xmlDocument([name, content]))
}

function methodNotAllowed(method: string | undefined): S3Error {
  return new S3Error(405, 'MethodNotAllowed', `the method ${method} is not allowed here`)
}

function answerError(request: IncomingMessage, response: ServerResponse, error: unknown): void {
  // Half an answer cannot be taken back.
  if (response.headersSent || response.destroyed) {
    response.destroy()
    return
  }
  const known = error instanceof S3Error ? error : new S3Error(500, 'InternalError', String(error))
  const body = xmlDocument([
    'Error',
    [
      ['Code', known.code],
      ['Message', known.message],
    ],
  ])
  // Many clients read the answer only after they have sent their whole body.
  request.resume()
  response
    .writeHead(known.status, { 'content-type': 'application/xml' })
    .end(request.method === 'HEAD' ? '' : body)
}

const KNOWN_QUERY = new Set([
  ...[
    'list-type',
    'prefix',
    'delimiter',
    'max-keys',
    'continuation-token',
    'start-after',
    'encoding-type',
    'fetch-owner',
  ],
  'x-id',
  ...['uploads', 'uploadId', 'partNumber', 'delete', 'location'],
])
const KEPT_HEADERS = new Set([
  'content-type',
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'expires',
])
const KEY_BYTES_MAX = 1024
const LIST_MAX = 1000
/** Ten thousand parts with their checksums. */
const XML_BYTES_MAX = 4 * 1024 * 1024
