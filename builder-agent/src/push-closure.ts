import { randomUUID } from 'node:crypto'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type PathInfo, packNar } from '@crystal-forge/nix-cli'
import type {
  CacheCommitRequest,
  CacheMissingRequest,
  StorePath,
  UploadedPath,
} from '@crystal-forge/protocol'
import * as z from 'zod'
import type { JobContext } from './job-context.ts'
import { persistently } from './persistently.ts'

export type Pushed =
  | { readonly kind: 'pushed'; readonly paths: number; readonly bytes: number }
  | { readonly kind: 'failed'; readonly why: string }

/**
 * Brings a closure into the cache: one question for what is missing, NARs straight into the bucket, biggest first and
 * several at a time, then the commit, after which the control plane signs and publishes. A NAR that is there already is not
 * sent again, so a push that was cut off goes on where it ended.
 */
export async function pushClosure(
  context: JobContext,
  closure: { readonly outPath: StorePath; readonly infos: readonly PathInfo[] },
): Promise<Pushed> {
  const missing = await missingPaths(context, closure.infos)
  if (typeof missing === 'string') return { kind: 'failed', why: missing }
  const wanted = closure.infos
    .filter(({ path }) => missing.has(path))
    .sort((left, right) => right.narSize - left.narSize)
  const uploaded: UploadedPath[] = []
  const failure = await uploadAll(context, wanted, uploaded)
  if (failure !== undefined) return { kind: 'failed', why: failure }
  const refused = await commit(context, referencesFirst(uploaded), closure.outPath)
  if (refused !== undefined) return { kind: 'failed', why: refused }
  return {
    kind: 'pushed',
    paths: uploaded.length,
    bytes: uploaded.reduce((sum, { file_size }) => sum + file_size, 0),
  }
}

async function missingPaths(context: JobContext, infos: readonly PathInfo[]): Promise<Set<string> | string> {
  const missing = new Set<string>()
  for (let at = 0; at < infos.length; at += ASK_MAX) {
    const body: CacheMissingRequest = {
      v: 1,
      job: context.document.job,
      fence: context.document.fence,
      paths: infos.slice(at, at + ASK_MAX).map(({ path }) => path),
    }
    const answer = await call(context, '/v1/builder/cache/missing', body, missingAnswer)
    if (typeof answer === 'string') return answer
    for (const path of answer.missing) missing.add(path)
  }
  return missing
}

async function uploadAll(
  context: JobContext,
  wanted: readonly PathInfo[],
  uploaded: UploadedPath[],
): Promise<string | undefined> {
  const directory = join(context.machine.config.state_directory, 'uploads')
  await mkdir(directory, { recursive: true })
  const waiting = [...wanted]
  let failure: string | undefined
  const worker = async (): Promise<void> => {
    for (let info = waiting.shift(); info !== undefined && failure === undefined; info = waiting.shift()) {
      if (context.lease.signal.aborted) return
      try {
        uploaded.push(await upload(context, info, directory))
      } catch (error) {
        failure = `${info.path}: ${error instanceof Error ? error.message : String(error)}`
      }
      context.lease.report({ phase: 'push', done: uploaded.length, total: wanted.length, unit: 'paths' })
    }
  }
  await Promise.all(Array.from({ length: context.machine.config.parallel_uploads }, worker))
  return failure ?? (uploaded.length < wanted.length ? 'the push was stopped' : undefined)
}

async function upload(context: JobContext, info: PathInfo, directory: string): Promise<UploadedPath> {
  const file = join(directory, `${randomUUID()}.nar.zst`)
  try {
    const packed = await packNar({ store: context.machine.nix.store, path: info.path, file })
    // What the store says and what lies there must be the same, or a broken disk would be signed.
    if (packed.narHash !== info.narHash)
      throw new Error(`its content has the hash ${packed.narHash}, the store says ${info.narHash}`)
    const url = `nar/${packed.fileHashNix32}.nar.zst`
    await context.bucket.putFile(url, file, 'application/x-nix-nar')
    return {
      path: info.path,
      nar_hash: info.narHash,
      nar_size: info.narSize,
      references: [...info.references],
      deriver: info.deriver,
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
): Promise<string | undefined> {
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
    if (typeof answer === 'string') return answer
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

async function call<Schema extends z.ZodType>(
  context: JobContext,
  path: string,
  body: unknown,
  schema: Schema,
): Promise<z.output<Schema> | string> {
  const answer = await persistently(path, () => context.controlPlane.call(path, body, schema), {
    signal: context.lease.signal,
    log: context.log,
  })
  switch (answer.kind) {
    case 'ok':
      return answer.body
    case 'refused':
      return `${path} was refused: ${answer.code} ${answer.detail}`
    case 'unanswered':
      return `${path} was not answered: ${answer.why}`
  }
}

const missingAnswer = z.object({ missing: z.array(z.string()) })
const ASK_MAX = 3500
const COMMIT_MAX = 500
/** Below the 1 MiB of a signed request. */
const COMMIT_CHARACTERS_MAX = 800_000
