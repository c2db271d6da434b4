import { randomUUID } from 'node:crypto'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type PathInfo, packNar } from '@crystal-forge/nix-cli'
import {
  type CacheCommitRequest,
  type CacheMissingRequest,
  cacheMissingAnswer,
  type StorePath,
  type UploadedPath,
} from '@crystal-forge/protocol'
import * as z from 'zod'
import type { JobContext } from './job-context.ts'
import type { Lease } from './lease.ts'
import { persistently } from './persistently.ts'
import type { PoolPush } from './upload-pool.ts'

export type Pushed =
  | { readonly kind: 'pushed'; readonly paths: number; readonly bytes: number }
  | { readonly kind: 'failed'; readonly class: 'infra' | 'hash_mismatch'; readonly why: string }

/**
 * Brings a closure into the cache: one question for what is missing, NARs straight into the bucket, biggest first and
 * several at a time, then the commit, after which the control plane signs and publishes. What another job of this builder
 * is sending already is waited for instead of sent twice.
 */
export async function pushClosure(
  context: JobContext,
  closure: { readonly outPath: StorePath; readonly infos: readonly PathInfo[] },
): Promise<Pushed> {
  const missing = await missingPaths(context, closure.infos)
  if ('kind' in missing) return missing
  const wanted = closure.infos
    .filter(({ path }) => missing.has(path))
    .sort((left, right) => right.narSize - left.narSize)
  const push = context.uploads.begin()
  try {
    const sent = await uploadAll(context, wanted, push)
    if ('kind' in sent) return sent
    const refused = await commit(context, referencesFirst(sent.paths), closure.outPath)
    return refused ?? { kind: 'pushed', paths: sent.ownPaths, bytes: sent.ownBytes }
  } finally {
    push.end()
  }
}

type Failed = Extract<Pushed, { kind: 'failed' }>

async function missingPaths(
  context: JobContext,
  infos: readonly PathInfo[],
): Promise<ReadonlySet<string> | Failed> {
  const missing = new Set<string>()
  for (let at = 0; at < infos.length; at += ASK_MAX) {
    const body: CacheMissingRequest = {
      v: 1,
      job: context.document.job,
      fence: context.document.fence,
      paths: infos.slice(at, at + ASK_MAX).map(({ path }) => path),
    }
    const answer = await call(context, '/v1/builder/cache/missing', body, cacheMissingAnswer)
    if (!answer.ok) return answer.failed
    for (const path of answer.body.missing) missing.add(path)
  }
  return missing
}

type Sent = { readonly paths: UploadedPath[]; ownPaths: number; ownBytes: number }

async function uploadAll(
  context: JobContext,
  wanted: readonly PathInfo[],
  push: PoolPush,
): Promise<Sent | Failed> {
  const { lease, machine } = context
  const directory = join(machine.config.state_directory, 'uploads')
  await mkdir(directory, { recursive: true })
  const waiting = [...wanted]
  const sent: Sent = { paths: [], ownPaths: 0, ownBytes: 0 }
  const progress = pushProgress(lease, wanted)
  let failure: string | undefined
  const worker = async (): Promise<void> => {
    for (let info = waiting.shift(); info !== undefined && failure === undefined; info = waiting.shift()) {
      const { path, narSize } = info
      const work = info
      try {
        const { uploaded, own } = await push.once(path, () => upload(context, work, directory), lease.signal)
        sent.paths.push(uploaded)
        if (own) sent.ownPaths += 1
        if (own) sent.ownBytes += uploaded.file_size
        progress(narSize)
      } catch (error) {
        failure ??= lease.signal.aborted
          ? 'the push was stopped'
          : `${path}: ${error instanceof Error ? error.message : String(error)}`
      }
    }
  }
  await Promise.all(Array.from({ length: machine.config.parallel_uploads }, worker))
  return failure === undefined ? sent : { kind: 'failed', class: 'infra', why: failure }
}

/** Bytes say how far it is, because the biggest paths go first; the note counts the paths. */
function pushProgress(lease: Lease, wanted: readonly PathInfo[]): (narSize: number) => void {
  const total = wanted.reduce((sum, { narSize }) => sum + narSize, 0)
  let paths = 0
  let done = 0
  const say = (): void =>
    lease.report({ phase: 'push', done, total, unit: 'bytes', note: `${paths} of ${wanted.length} paths` })
  say()
  return (narSize) => {
    paths += 1
    done += narSize
    say()
  }
}

async function upload(context: JobContext, info: PathInfo, directory: string): Promise<UploadedPath> {
  const { signal } = context.lease
  const file = join(directory, `${randomUUID()}.nar.zst`)
  try {
    const packed = await packNar({ store: context.machine.nix.store, path: info.path, file, signal })
    // What the store says and what lies there must be the same, or a broken disk would be signed.
    if (packed.narHash !== info.narHash)
      throw new Error(`its content has the hash ${packed.narHash}, the store says ${info.narHash}`)
    const url = `nar/${packed.fileHashNix32}.nar.zst`
    // A push that was cut off goes on where it ended; for small files the question costs as much as the answer.
    if (packed.fileSize < ASK_FIRST_BYTES || !(await context.bucket.has(url)))
      await context.bucket.putFile(url, file, { contentType: 'application/x-nix-nar', signal })
    return {
      path: info.path,
      nar_hash: info.narHash,
      nar_size: info.narSize,
      references: [...info.references],
      deriver: info.deriver,
      // With its content address in the narinfo a client would take the path without any signature.
      ca: null,
      url,
      compression: 'zstd',
      file_hash: packed.fileHash,
      file_size: packed.fileSize,
    }
  } finally {
    await rm(file, { force: true })
  }
}

/** References before what refers to them, so that every batch can be published as it comes. */
export function referencesFirst(paths: readonly UploadedPath[]): UploadedPath[] {
  const byPath = new Map(paths.map((path) => [path.path, path]))
  const ordered = new Map<string, UploadedPath>()
  const visit = (start: UploadedPath): void => {
    // An own stack: closures are deep, and the program's stack is not.
    const stack: { readonly item: UploadedPath; next: number }[] = [{ item: start, next: 0 }]
    const open = new Set([start.path])
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const reference = top.item.references[top.next++]
      if (reference === undefined) {
        ordered.set(top.item.path, top.item)
        stack.pop()
        continue
      }
      const item = byPath.get(reference)
      if (item === undefined || ordered.has(reference) || open.has(reference)) continue
      open.add(reference)
      stack.push({ item, next: 0 })
    }
  }
  for (const path of paths) if (!ordered.has(path.path)) visit(path)
  return [...ordered.values()]
}

async function commit(
  context: JobContext,
  paths: readonly UploadedPath[],
  toplevel: StorePath,
): Promise<Failed | undefined> {
  const batches = inBatches(paths)
  for (const [index, batch] of batches.entries()) {
    const body: CacheCommitRequest = {
      v: 1,
      job: context.document.job,
      fence: context.document.fence,
      paths: batch,
      ...(index === batches.length - 1 ? { toplevel } : {}),
    }
    const answer = await call(context, '/v1/builder/cache/commit', body, z.looseObject({}))
    if (!answer.ok) return answer.failed
  }
  return undefined
}

/** At least one batch: the last one names the toplevel also when every path was there. */
function inBatches(paths: readonly UploadedPath[]): UploadedPath[][] {
  const batches: UploadedPath[][] = [[]]
  let characters = 0
  for (const path of paths) {
    const size = JSON.stringify(path).length
    const current = batches.at(-1)
    if (current !== undefined && current.length < COMMIT_MAX && characters + size < COMMIT_CHARACTERS_MAX) {
      current.push(path)
      characters += size
    } else {
      batches.push([path])
      characters = size
    }
  }
  return batches
}

type Called<Body> =
  | { readonly ok: true; readonly body: Body }
  | { readonly ok: false; readonly failed: Failed }

async function call<Schema extends z.ZodType>(
  context: JobContext,
  path: string,
  body: unknown,
  schema: Schema,
): Promise<Called<z.output<Schema>>> {
  const { signal } = context.lease
  const answer = await persistently(path, () => context.controlPlane.call(path, body, schema, signal), {
    signal,
    log: context.log,
  })
  switch (answer.kind) {
    case 'ok':
      return { ok: true, body: answer.body }
    case 'refused': {
      const kind = answer.code === 'path_conflict' ? 'hash_mismatch' : 'infra'
      return failedCall(kind, `${path} was refused: ${answer.code} ${answer.detail}`)
    }
    case 'unanswered':
      return failedCall('infra', `${path} was not answered: ${answer.why}`)
  }
}

function failedCall(kind: Failed['class'], why: string): { readonly ok: false; readonly failed: Failed } {
  return { ok: false, failed: { kind: 'failed', class: kind, why } }
}

const ASK_MAX = 3500
const COMMIT_MAX = 500
/** Below the 1 MiB of a signed request. */
const COMMIT_CHARACTERS_MAX = 800_000
/** What takes longer to send than to ask for. */
const ASK_FIRST_BYTES = 1024 * 1024
