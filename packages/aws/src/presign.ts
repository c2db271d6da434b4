import { createHash, createHmac } from 'node:crypto'
import type { S3Client } from '@aws-sdk/client-s3'

export type Presigned = { readonly url: string; readonly headers: Readonly<Record<string, string>> }

export type PresignRequest = {
  readonly bucket: string
  readonly key: string
  readonly method: 'GET' | 'PUT'
  /** 1 to 604800. Credentials of a role end earlier, and the URL with them. */
  readonly expiresSeconds: number
  /** Lower-case names. Whoever uses the URL must send exactly these. */
  readonly headers?: Readonly<Record<string, string>>
  readonly now?: Date
}

/** A URL that carries its own permission (AWS Signature Version 4, query form). Computed here, without a call. */
export async function presign(client: S3Client, request: PresignRequest): Promise<Presigned> {
  const { expiresSeconds } = request
  if (!Number.isInteger(expiresSeconds) || expiresSeconds < 1 || expiresSeconds > EXPIRES_SECONDS_MAX) {
    throw new RangeError(`a presigned URL lives 1 to ${EXPIRES_SECONDS_MAX} seconds, not ${expiresSeconds}`)
  }
  const [credentials, region, base] = await Promise.all([
    client.config.credentials(),
    client.config.region(),
    objectUrl(client, request),
  ])
  return presignUrl({ ...request, url: base, region, credentials, now: request.now ?? new Date() })
}

export type PresignInputs = Pick<PresignRequest, 'method' | 'expiresSeconds' | 'headers'> & {
  readonly url: URL
  readonly region: string
  readonly credentials: {
    readonly accessKeyId: string
    readonly secretAccessKey: string
    readonly sessionToken?: string | undefined
  }
  readonly now: Date
  /** `s3` unless told. Every other service signs the (here always empty) payload too. */
  readonly service?: string
  /** Parameters of the request itself. */
  readonly query?: Readonly<Record<string, string>>
}

/** The computation alone: pure. */
export function presignUrl(inputs: PresignInputs): Presigned {
  const { url, region, credentials, headers = {}, service = 's3' } = inputs
  const time = inputs.now.toISOString().replace(/[-:]|\.\d+/g, '')
  const scope = `${time.slice(0, 8)}/${region}/${service}/aws4_request`
  const signed: Readonly<Record<string, string>> = { ...headers, host: url.host }
  const names = Object.keys(signed).sort(byCodeUnit)
  const query = canonicalQuery({
    ...inputs.query,
    'X-Amz-Algorithm': ALGORITHM,
    'X-Amz-Credential': `${credentials.accessKeyId}/${scope}`,
    'X-Amz-Date': time,
    'X-Amz-Expires': String(inputs.expiresSeconds),
    'X-Amz-SignedHeaders': names.join(';'),
    ...(credentials.sessionToken === undefined ? {} : { 'X-Amz-Security-Token': credentials.sessionToken }),
  })
  const canonical = [
    inputs.method,
    url.pathname,
    query,
    ...names.map((name) => `${name}:${signed[name]?.trim()}`),
    '',
    names.join(';'),
    service === 's3' ? 'UNSIGNED-PAYLOAD' : createHash('sha256').digest('hex'),
  ].join('\n')
  const toSign = [ALGORITHM, time, scope, createHash('sha256').update(canonical).digest('hex')].join('\n')
  const key = [...scope.split('/')].reduce<Buffer | string>(
    (secret, part) => createHmac('sha256', secret).update(part).digest(),
    `AWS4${credentials.secretAccessKey}`,
  )
  const signature = createHmac('sha256', key).update(toSign).digest('hex')
  return { url: `${url.origin}${url.pathname}?${query}&X-Amz-Signature=${signature}`, headers }
}

async function objectUrl(client: S3Client, { bucket, key }: PresignRequest): Promise<URL> {
  const path = key.split('/').map(encode).join('/')
  const override = client.config.endpoint
  if (override === undefined) {
    return new URL(`https://${bucket}.s3.${await client.config.region()}.amazonaws.com/${path}`)
  }
  const { protocol, hostname, port } = await override()
  return new URL(`${protocol}//${hostname}${port === undefined ? '' : `:${port}`}/${bucket}/${path}`)
}

function canonicalQuery(parameters: Readonly<Record<string, string>>): string {
  return Object.entries(parameters)
    .map(([name, value]) => `${encode(name)}=${encode(value)}`)
    .sort(byCodeUnit)
    .join('&')
}

function byCodeUnit(a: string, b: string): number {
  return a < b ? -1 : 1
}

/** RFC 3986: everything but the unreserved characters. */
function encode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (letter) => `%${letter.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}

const ALGORITHM = 'AWS4-HMAC-SHA256'
const EXPIRES_SECONDS_MAX = 7 * 24 * 60 * 60
