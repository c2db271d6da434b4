import { S3Error } from './s3-error.ts'

/** A presigned URL ends when it says so. Its signature is not checked: this store has no secrets to check it with. */
export function refuseExpired(query: URLSearchParams, now: Date): void {
  const [signedAt, expires] = [query.get('X-Amz-Date'), query.get('X-Amz-Expires')]
  if (signedAt === null && expires === null) return
  const began = parseTime(signedAt ?? '')
  const seconds = Number(expires)
  if (Number.isNaN(began) || !Number.isInteger(seconds) || seconds < 1 || seconds > EXPIRES_SECONDS_MAX) {
    throw new S3Error(400, 'AuthorizationQueryParametersError', 'X-Amz-Date or X-Amz-Expires cannot be read')
  }
  if (now.getTime() > began + seconds * 1000) throw new S3Error(403, 'AccessDenied', 'Request has expired')
}

function parseTime(text: string): number {
  return Date.parse(text.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'))
}

const EXPIRES_SECONDS_MAX = 7 * 24 * 60 * 60
