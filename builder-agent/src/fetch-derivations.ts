import { randomUUID } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { evaluateConfiguration, importDerivations, type NixCall, pathInfo } from '@crystal-forge/nix-cli'
import type { BuildPayload, JobResult, StorePath } from '@crystal-forge/protocol'
import { evaluatorOf } from './evaluator.ts'
import { failed } from './failed.ts'
import type { JobContext } from './job-context.ts'

/**
 * Makes sure that the derivation is in this store: it is there, or its export is imported, or the configuration is
 * evaluated again and must yield the same path.
 * @returns why it cannot be had, or undefined.
 */
export async function fetchDerivations(
  context: JobContext,
  work: BuildPayload,
  { call, drvPath }: { readonly call: NixCall; readonly drvPath: StorePath },
): Promise<JobResult['result'] | undefined> {
  const known = await pathInfo(call, [drvPath])
  if (known.kind === 'failed') return failed(known.class, known.message)
  if (known.infos.has(drvPath)) return undefined
  if (work.export_key !== null) {
    const why = await importExport(context, work.export_key, { call, drvPath })
    if (why === undefined) return undefined
    context.log.warn({ drv: drvPath, why }, 'the export cannot be used; evaluating again')
  }
  return evaluateAgain(context, work, drvPath)
}

/** Brings the derivations of an export into the store. @returns why it cannot be used. */
export async function importExport(
  context: JobContext,
  key: string,
  { call, drvPath }: { readonly call: NixCall; readonly drvPath: StorePath },
): Promise<string | undefined> {
  const directory = join(context.machine.config.state_directory, 'downloads')
  const file = join(directory, `${randomUUID()}.export.zst`)
  try {
    await mkdir(directory, { recursive: true })
    const body = await context.bucket.get(key, context.lease.signal)
    if (body === undefined) return `there is no object ${key}`
    await pipeline(body, createWriteStream(file, { mode: 0o600 }), { signal: context.lease.signal })
    const imported = await importDerivations(call, { drvPath, file })
    return imported.kind === 'imported' ? undefined : imported.message
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  } finally {
    await rm(file, { force: true })
  }
}

async function evaluateAgain(
  context: JobContext,
  work: BuildPayload,
  drvPath: StorePath,
): Promise<JobResult['result'] | undefined> {
  const flake = { ...work.source, branch: work.branch, rev: work.rev }
  const outcome = await evaluateConfiguration(evaluatorOf(context), flake, {
    name: work.configuration,
    extras: {},
  })
  if (outcome.kind === 'error') return failed(outcome.class, outcome.message, outcome.trace)
  if (outcome.drvPath === drvPath) return undefined
  return failed(
    'infra',
    `evaluator version: Nix ${work.evaluator} yielded ${drvPath}, Nix ${context.machine.nixVersion} yields ${outcome.drvPath}; the export is needed, or a builder with that version`,
  )
}
