import { randomUUID } from 'node:crypto'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { exportDerivations } from '@crystal-forge/nix-cli'
import { hashPart, type StorePath } from '@crystal-forge/protocol'
import type { JobContext } from './job-context.ts'
import { storeCall } from './nix-calls.ts'

export type UploadedDerivations =
  | { readonly kind: 'uploaded'; readonly key: string }
  | { readonly kind: 'failed'; readonly why: string }

/**
 * Puts one compressed export of a toplevel's derivations into the bucket, so that any builder can build it. Named after
 * the derivation, whose path pins everything in it; what is there already is not made again.
 */
export async function uploadDerivations(
  context: JobContext,
  drvPath: StorePath,
): Promise<UploadedDerivations> {
  const key = exportKey(drvPath)
  const directory = join(context.machine.config.state_directory, 'uploads')
  const file = join(directory, `${randomUUID()}.export.zst`)
  try {
    if (await context.bucket.has(key)) return { kind: 'uploaded', key }
    await mkdir(directory, { recursive: true })
    const exported = await exportDerivations(storeCall(context), { drvPath, file })
    if (exported.kind === 'failed') return { kind: 'failed', why: exported.message }
    await context.bucket.putFile(key, file, {
      contentType: 'application/zstd',
      signal: context.lease.signal,
    })
    return { kind: 'uploaded', key }
  } catch (error) {
    return { kind: 'failed', why: error instanceof Error ? error.message : String(error) }
  } finally {
    await rm(file, { force: true })
  }
}

/** Where the export of a derivation lies in the bucket. */
export function exportKey(drvPath: StorePath): string {
  return `drv/${hashPart(drvPath)}.export.zst`
}
