import type { Bucket } from '@crystal-forge/aws'
import { type BuilderPrincipal, checkUpload, outsideReferences } from '@crystal-forge/control-plane'
import {
  type CachedPath,
  claimNonce,
  commitClosure,
  commitPaths,
  type Database,
  holdsBuild,
  inTransaction,
  missingPaths,
  pathConflicts,
  pathsPublished,
  recordEvent,
  signedInfo,
} from '@crystal-forge/postgres'
import {
  type CacheCommitAnswer,
  type CacheCommitRequest,
  type CacheSecretKey,
  cacheCommitRequest,
  signNarInfo,
  type UploadedPath,
} from '@crystal-forge/protocol'
import { type BuilderParts, recognition, staleFence } from '../builder-call.ts'
import { type Endpoint, problem, type Reply } from '../http-api.ts'
import { inParallel } from '../in-parallel.ts'
import type { PublishNarinfos } from '../narinfo-publisher.ts'
import { recogniseBuilder, replayedReply } from '../signed-caller.ts'

type Cache = {
  readonly objects: Pick<Bucket, 'head'>
  readonly signingKey: CacheSecretKey
  readonly publish: PublishNarinfos
}
type Accepted = { readonly kind: 'accepted'; readonly publish: readonly CachedPath[] }

/**
 * `POST /v1/builder/cache/commit`: checks that the NARs lie in the bucket, writes the rows, then the narinfos, then marks
 * them as published. Whatever breaks in between is repeated by the builder or by the sweep. With `toplevel` the
 * closure is recorded once all of it is published.
 */
export function postCommit(parts: BuilderParts, cache: Cache): Endpoint {
  return async (request) => {
    const caller = await recogniseBuilder(request, { ...recognition(parts), schema: cacheCommitRequest })
    if (!caller.ok) return caller.reply
    const { principal: builder, body } = caller
    const fault = checkUpload(body.paths)
    if (fault !== null) return problem(422, fault.code, fault.detail)
    // Asking the bucket takes too long for a transaction, and an object that is there stays there.
    const absent = await absentNar(cache, builder.tenant, body.paths)
    if (absent !== null) return absent
    const accepted = await inTransaction(parts.database, { tenant: builder.tenant }, async (transaction) => {
      const spent = {
        tenant: builder.tenant,
        keyId: builder.keyId,
        nonce: caller.nonce,
        expiresAt: caller.expiresAt,
      }
      if ((await claimNonce(transaction, spent)) === 'replayed') return replayedReply()
      return accept(transaction, { builder, body, signingKey: cache.signingKey })
    })
    if (!('kind' in accepted)) return accepted
    await cache.publish(builder.tenant, accepted.publish)
    return inTransaction(parts.database, { tenant: builder.tenant }, (transaction) =>
      finish(transaction, body, accepted.publish),
    )
  }
}

async function absentNar(
  { objects }: Cache,
  prefix: string,
  paths: readonly UploadedPath[],
): Promise<Reply | null> {
  const found = await inParallel(paths, HEADS_MAX, (path) => objects.head(`${prefix}/${path.url}`))
  for (const [index, path] of paths.entries()) {
    const bytes = found[index]?.bytes
    if (bytes === path.file_size) continue
    const what =
      bytes === undefined ? 'is not in the bucket' : `has ${bytes} bytes instead of ${path.file_size}`
    return problem(422, 'nar_missing', `${path.path}: ${path.url} ${what}; upload it and commit again`)
  }
  return null
}

async function accept(
  transaction: Database,
  context: {
    readonly builder: BuilderPrincipal
    readonly body: CacheCommitRequest
    readonly signingKey: CacheSecretKey
  },
): Promise<Reply | Accepted> {
  const { builder, body, signingKey } = context
  const { job, fence, paths } = body
  const actor = { kind: 'builder', key: builder.keyId, builder: builder.builder } as const
  if (!(await holdsBuild(transaction, { job, fence, builder: builder.builder }))) return staleFence(job)
  const [conflict] = await pathConflicts(transaction, paths)
  if (conflict !== undefined) {
    await recordEvent(transaction, { type: 'cache.conflict', actor, detail: { job, ...conflict } })
    return problem(
      409,
      'path_conflict',
      `${conflict.path} is in the cache as ${conflict.known}, not as ${conflict.given}: the build is not reproducible`,
    )
  }
  const unknown = await missingPaths(transaction, outsideReferences(paths))
  if (unknown.length > 0)
    return problem(
      422,
      'reference_missing',
      `neither in the cache nor in this batch: ${unknown.slice(0, 10).join(', ')}; commit references first`,
    )
  const signed = paths.map((path) => ({ ...path, signature: signatureOf(path, signingKey) }))
  const open = new Set(
    await missingPaths(
      transaction,
      paths.map(({ path }) => path),
    ),
  )
  if (signed.length > 0)
    await commitPaths(transaction, { builder: builder.builder, job, actor, paths: signed })
  return { kind: 'accepted', publish: signed.filter(({ path }) => open.has(path)) }
}

async function finish(
  transaction: Database,
  body: CacheCommitRequest,
  published: readonly CachedPath[],
): Promise<Reply> {
  await pathsPublished(
    transaction,
    published.map(({ path }) => path),
  )
  const answer: CacheCommitAnswer = { published: published.length }
  if (body.toplevel === undefined) return { status: 200, body: answer }
  const closed = await commitClosure(transaction, body.toplevel)
  switch (closed.kind) {
    case 'incomplete':
      return problem(
        409,
        'closure_incomplete',
        `not in the cache, of the closure of ${body.toplevel}: ${closed.missing.join(', ')}`,
      )
    case 'closed': {
      const { count, narSize, sha256 } = closed
      return { status: 200, body: { ...answer, closure: { count, nar_size: narSize, sha256 } } }
    }
  }
}

function signatureOf(path: UploadedPath, key: CacheSecretKey): string {
  const { keyName, base64 } = signNarInfo(signedInfo(path), key)
  return `${keyName}:${base64}`
}

const HEADS_MAX = 16
