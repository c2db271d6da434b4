/** An answer that S3 would give, with the code that clients look for. */
export class S3Error extends Error {
  readonly status: number
  readonly code: string

  constructor(status: number, code: string, message: string) {
    super(message)
    this.status = status
    this.code = code
  }
}

export function notImplemented(what: string): S3Error {
  return new S3Error(501, 'NotImplemented', `the embedded object store does not know ${what}`)
}

export function preconditionFailed(): S3Error {
  return new S3Error(412, 'PreconditionFailed', 'at least one of the conditions did not hold')
}

export function noSuchKey(): S3Error {
  return new S3Error(404, 'NoSuchKey', 'the key does not exist')
}

export function noSuchBucket(): S3Error {
  return new S3Error(404, 'NoSuchBucket', 'the bucket does not exist')
}
