import {
  isDrvPath,
  nix32OfHash,
  parseStorePath,
  type StorePath,
  sriOfHash,
  storePathOfBaseName,
} from '@crystal-forge/protocol'
import * as z from 'zod'
import { answerOf, infra, type NixCall, type NixFailure, nixStoreCommand, nixSubcommand } from './nix-call.ts'
import { compareText } from './text-order.ts'

export type PathInfo = {
  readonly path: StorePath
  /** SRI: `sha256-<base64>`. */
  readonly narHash: string
  readonly narSize: number
  /** Sorted; may contain the path itself. */
  readonly references: readonly StorePath[]
  readonly deriver: StorePath | null
  /** `name:base64`. */
  readonly signatures: readonly string[]
  /** `fixed:r:sha256:<nix32>` or the like for a path that is named after its content; signatures do not pin such a path. */
  readonly ca: string | null
}

export type PathInfos = {
  readonly kind: 'infos'
  readonly infos: ReadonlyMap<StorePath, PathInfo>
  /** Paths that the store does not have. */
  readonly absent: readonly StorePath[]
}

/** What the store knows about some paths. A path it does not have is an answer, not a failure. */
export async function pathInfo(call: NixCall, paths: readonly StorePath[]): Promise<PathInfos | NixFailure> {
  const missing = await absentPaths(call, paths)
  if (missing.kind === 'failed') return missing
  const absent = new Set(missing.absent)
  const present = paths.filter((path) => !absent.has(path))
  const infos = new Map<StorePath, PathInfo>()
  for (const group of [present.filter(isDrvPath), present.filter((path) => !isDrvPath(path))]) {
    const found = await query(call, [], group)
    if (found.kind === 'failed') return found
    for (const [path, info] of found.infos) infos.set(path, info)
  }
  return { kind: 'infos', infos, absent: missing.absent }
}

/** Those of the paths that the store does not have. The only question about absent paths that all versions of Nix answer alike. */
export async function absentPaths(
  call: NixCall,
  paths: readonly StorePath[],
): Promise<{ readonly kind: 'absent'; readonly absent: readonly StorePath[] } | NixFailure> {
  if (paths.length === 0) return { kind: 'absent', absent: [] }
  const answer = await answerOf(nixStoreCommand(call, ['--check-validity', '--print-invalid', ...paths]))
  if (answer.kind === 'failed') return answer
  return { kind: 'absent', absent: answer.stdout.split('\n').flatMap((line) => parseStorePath(line) ?? []) }
}

export type Closure =
  | {
      readonly kind: 'closure'
      /** In the order of the paths. */
      readonly infos: ReadonlyMap<StorePath, PathInfo>
    }
  | { readonly kind: 'absent' }
  | NixFailure

/** A path and everything it refers to, directly or not. */
export async function closureOf(call: NixCall, path: StorePath): Promise<Closure> {
  const missing = await absentPaths(call, [path])
  if (missing.kind === 'failed') return missing
  if (missing.absent.length > 0) return { kind: 'absent' }
  const closure = await query(call, ['--recursive'], [path])
  if (closure.kind === 'failed') return closure
  const infos = [...closure.infos].toSorted(([left], [right]) => compareText(left, right))
  return { kind: 'closure', infos: new Map(infos) }
}

/**
 * Reads `nix path-info --json` of Nix 2.8 (a list), 2.26 (an object by path), 2.34 (the same, and `--json-format 2` with base names).
 * @throws RangeError when the text is none of these.
 */
export function parsePathInfo(json: string): Omit<PathInfos, 'kind'> {
  const infos = new Map<StorePath, PathInfo>()
  const absent: StorePath[] = []
  for (const [name, entry] of parse(json)) {
    const path = absolute(name)
    if (entry === null || entry.valid === false) absent.push(path)
    else infos.set(path, infoOf(path, entry))
  }
  return { infos, absent }
}

/** A name with or without the store directory. @throws RangeError */
export function absolute(name: string): StorePath {
  const path = parseStorePath(name) ?? storePathOfBaseName(name)
  if (path === null)
    throw new RangeError(
      `Nix named something that is not a store path: ${JSON.stringify(name.slice(0, 300))}`,
    )
  return path
}

/** Paths that are there: derivations or others, never both. Nix 2.8 takes a bare derivation for its outputs. */
async function query(
  call: NixCall,
  flags: readonly string[],
  paths: readonly StorePath[],
): Promise<PathInfos | NixFailure> {
  if (paths.length === 0) return { kind: 'infos', infos: new Map(), absent: [] }
  const derivation = paths.every(isDrvPath) ? ['--derivation'] : []
  const command = (format: readonly string[]) =>
    nixSubcommand(call, ['path-info'], ['--json', ...format, ...derivation, ...flags, '--', ...paths])
  let answer = await answerOf(command([]))
  // Nix announces that a version will require --json-format, which 2.8 and 2.26 do not know.
  if (answer.kind === 'failed' && /json-format/.test(answer.message))
    answer = await answerOf(command(['--json-format', '1']))
  if (answer.kind === 'failed') return answer
  try {
    return { kind: 'infos', ...parsePathInfo(answer.stdout) }
  } catch (error) {
    return infra(error instanceof Error ? error.message : String(error))
  }
}

function infoOf(path: StorePath, entry: z.infer<typeof entryShape>): PathInfo {
  const { narHash, narSize, references } = entry
  if (narHash === undefined || narSize === undefined || references === undefined) {
    throw new RangeError(`Nix described ${path} without hash, size or references`)
  }
  return {
    path,
    narHash: sriOfHash(narHash),
    narSize,
    references: references.map(absolute).toSorted(compareText),
    deriver: typeof entry.deriver === 'string' && entry.deriver !== '' ? absolute(entry.deriver) : null,
    signatures: entry.signatures ?? [],
    ca: contentAddress(entry.ca),
  }
}

/** Format 2 of Nix 2.34 has an object; everything else has the text of narinfo files. */
function contentAddress(ca: z.infer<typeof entryShape>['ca']): string | null {
  if (ca === undefined || ca === null || ca === '') return null
  if (typeof ca === 'string') return ca
  const prefix = { nar: 'fixed:r:', flat: 'fixed:', text: 'text:' }[ca.method]
  return `${prefix}${nix32OfHash(ca.hash)}`
}

function parse(json: string): z.infer<typeof answerShape> {
  try {
    return answerShape.parse(JSON.parse(json))
  } catch (cause) {
    throw new RangeError('nix path-info answered in a shape that no known version has', { cause })
  }
}

const entryShape = z.object({
  valid: z.boolean().optional(),
  narHash: z.string().optional(),
  narSize: z.number().int().nonnegative().optional(),
  references: z.array(z.string()).optional(),
  deriver: z.string().nullish(),
  signatures: z.array(z.string()).optional(),
  ca: z
    .union([z.string(), z.object({ method: z.enum(['nar', 'flat', 'text']), hash: z.string() })])
    .nullish(),
})
type Entry = z.infer<typeof entryShape> | null
const byName = z.record(z.string(), entryShape.nullable())
const answerShape = z.union([
  z
    .array(entryShape.extend({ path: z.string() }))
    .transform((list): (readonly [string, Entry])[] => list.map((entry) => [entry.path, entry])),
  z
    .object({ version: z.literal(2), storeDir: z.literal('/nix/store'), info: byName })
    .transform(({ info }): (readonly [string, Entry])[] => Object.entries(info)),
  byName.transform((entries): (readonly [string, Entry])[] => Object.entries(entries)),
])
