import { readFile, stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { type FleetDocument, fleetDocument } from '@crystal-forge/protocol'
import { parse, TomlError } from 'smol-toml'
import type * as z from 'zod'
import { CommandError, EXIT } from './exit.ts'
import { fromOriginal } from './original-fleet.ts'
import { readSecretFile, reason } from './secret-file.ts'

export type FleetFile = {
  readonly document: FleetDocument
  /** What was accepted without effect, each with its replacement. */
  readonly warnings: readonly string[]
}

/**
 * Reads a declaration: TOML (or JSON), in our words or in those of the original's config.toml. Secrets of hooks are read from
 * the files that `secret_file` names, relative to the declaration.
 */
export async function readFleetFile(path: string): Promise<FleetFile> {
  const parsed = parseText(path, await readText(path))
  const { declared, warnings } = fromOriginal(parsed)
  const withSecrets = await readSecrets(declared, path)
  const checked = fleetDocument.safeParse(withSecrets)
  if (!checked.success) throw new CommandError(EXIT.usage, describe(path, withSecrets, checked.error))
  return { document: checked.data, warnings }
}

async function readText(path: string): Promise<string> {
  try {
    const { size } = await stat(path)
    if (size > FILE_BYTES_MAX)
      throw new CommandError(EXIT.usage, `${path} has ${size} bytes; at most ${FILE_BYTES_MAX} are read`)
    return await readFile(path, 'utf8')
  } catch (cause) {
    if (cause instanceof CommandError) throw cause
    throw new CommandError(EXIT.usage, `${path} could not be read: ${reason(cause)}`, { cause })
  }
}

function parseText(path: string, text: string): unknown {
  try {
    return text.trimStart().startsWith('{') ? JSON.parse(text) : parse(text)
  } catch (cause) {
    if (!(cause instanceof TomlError))
      throw new CommandError(EXIT.usage, `${path}: ${reason(cause)}`, { cause })
    const [first = ''] = cause.message.split('\n')
    const what = first.replace('Invalid TOML document: ', '')
    throw new CommandError(EXIT.usage, `${path}:${cause.line}:${cause.column}: ${what}`, { cause })
  }
}

async function readSecrets(declared: unknown, path: string): Promise<unknown> {
  if (!isRecord(declared) || !Array.isArray(declared['hooks'])) return declared
  const hooks = await Promise.all(
    declared['hooks'].map(async (hook: unknown, index) => {
      if (!isRecord(hook)) return hook
      const { secret_file: file, ...rest } = hook
      if ('secret' in rest)
        throw new CommandError(
          EXIT.usage,
          `${path}: hooks.${index}.secret stands in the file: put it into a file of its own and name that with secret_file`,
        )
      if (file === undefined) return rest
      if (typeof file !== 'string')
        throw new CommandError(EXIT.usage, `${path}: hooks.${index}.secret_file must be the name of a file`)
      return { ...rest, secret: await readSecretFile(resolve(dirname(path), file), 'the secret file') }
    }),
  )
  return { ...declared, hooks }
}

/** One line a fault: where, in whose entry, what. Values are shown unless they are secret. */
function describe(path: string, value: unknown, error: z.ZodError): string {
  const lines = error.issues.slice(0, FAULTS_MAX).map((issue) => {
    const at = issue.path.map(String).join('.')
    return `${path}: ${at}${entryName(value, issue.path)}${shown(value, issue.path)}: ${issue.message}`
  })
  const more = error.issues.length - lines.length
  return more > 0 ? `${lines.join('\n')}\n${path}: and ${more} more` : lines.join('\n')
}

function entryName(value: unknown, path: readonly PropertyKey[]): string {
  const entry = member(value, path.slice(0, 2))
  if (!isRecord(entry)) return ''
  const name = entry['hostname'] ?? entry['name']
  return typeof name === 'string' && path.length > 2 ? ` (${JSON.stringify(name)})` : ''
}

function shown(value: unknown, path: readonly PropertyKey[]): string {
  const found = member(value, path)
  if (path.includes('secret') || typeof found === 'object' || found === undefined) return ''
  return ` is ${JSON.stringify(found).slice(0, 120)}`
}

function member(value: unknown, path: readonly PropertyKey[]): unknown {
  let at = value
  for (const name of path) at = typeof at === 'object' && at !== null ? Reflect.get(at, name) : undefined
  return at
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** What the server reads of a declaration. */
const FILE_BYTES_MAX = 4 * 1024 * 1024
const FAULTS_MAX = 20
