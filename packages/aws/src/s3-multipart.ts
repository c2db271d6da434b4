import { createHash, type Hash } from 'node:crypto'
import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { writeOnce } from './s3-errors.ts'
import type { StreamStored, Target } from './s3-object.ts'

export type Parts = { readonly first: Uint8Array; readonly rest: AsyncIterable<Uint8Array> }

/** Uploads a few parts at a time, each with its SHA-256, and completes only when the key is still free. */
export async function putLargeStream(client: S3Client, target: Target, parts: Parts): Promise<StreamStored> {
  const { UploadId } = await client.send(
    new CreateMultipartUploadCommand({ ...target, ChecksumAlgorithm: 'SHA256' }),
  )
  if (UploadId === undefined) throw new Error(`S3 gave no upload id for ${target.Key}`)
  const where = { Bucket: target.Bucket, Key: target.Key, UploadId }
  try {
    const whole = createHash('sha256')
    const { completed, bytes } = await uploadParts(parts, whole, (body, PartNumber) =>
      uploadPart(client, where, body, PartNumber),
    )
    const outcome = await writeOnce(async () => {
      await client.send(
        new CompleteMultipartUploadCommand({
          ...where,
          MultipartUpload: { Parts: completed },
          IfNoneMatch: '*',
        }),
      )
    })
    if (outcome === 'exists') await client.send(new AbortMultipartUploadCommand(where))
    return { outcome, bytes, sha256: whole.digest('hex') }
  } catch (error) {
    // Parts that nobody completes cost money until a lifecycle rule finds them.
    await client.send(new AbortMultipartUploadCommand(where)).catch(() => {})
    throw error
  }
}

type Upload = (body: Uint8Array, number: number) => Promise<CompletedPart>
type Uploaded = { readonly completed: CompletedPart[]; readonly bytes: number }

async function uploadParts(parts: Parts, whole: Hash, upload: Upload): Promise<Uploaded> {
  const flying = new Set<Promise<void>>()
  const completed: CompletedPart[] = []
  let bytes = 0
  let number = 0
  for await (const body of startingWith(parts)) {
    const index = number++
    whole.update(body)
    bytes += body.byteLength
    const part = upload(body, index + 1).then((done) => {
      completed[index] = done
      flying.delete(part)
    })
    // Whoever waits below sees the failure; this keeps it from being reported as unhandled in the meantime.
    part.catch(() => {})
    flying.add(part)
    if (flying.size >= PARTS_AT_ONCE) await Promise.race(flying)
  }
  await Promise.all(flying)
  return { completed, bytes }
}

async function* startingWith({ first, rest }: Parts): AsyncGenerator<Uint8Array> {
  yield first
  yield* rest
}

type Where = { readonly Bucket: string; readonly Key: string; readonly UploadId: string }

async function uploadPart(
  client: S3Client,
  where: Where,
  body: Uint8Array,
  number: number,
): Promise<CompletedPart> {
  const checksum = createHash('sha256').update(body).digest('base64')
  const { ETag } = await client.send(
    new UploadPartCommand({
      ...where,
      PartNumber: number,
      Body: body,
      ContentLength: body.byteLength,
      ChecksumSHA256: checksum,
    }),
  )
  return { ETag: ETag ?? '', PartNumber: number, ChecksumSHA256: checksum }
}

/** Times 8 MiB is the memory that an upload takes. */
const PARTS_AT_ONCE = 4
