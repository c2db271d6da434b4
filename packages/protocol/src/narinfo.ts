import { isContentAddress } from './content-address.ts'
import { parseNixSha256, sha256ToNix32 } from './nix-hash.ts'
import { baseName, parseStorePath, type StorePath, storePathOfBaseName } from './store-path.ts'

/** The part of a narinfo that its signatures cover. */
export type SignedPathInfo = {
  readonly storePath: StorePath
  /** `sha256:<nix32>`. */
  readonly narHash: string
  readonly narSize: number
  readonly references: readonly StorePath[]
}

/** A narinfo file. URL, compression and file hash are not covered by signatures: a client checks the NAR hash. */
export type NarInfo = SignedPathInfo & {
  readonly url: string
  readonly compression: string
  readonly fileHash: string | null
  readonly fileSize: number | null
  readonly deriver: StorePath | null
  readonly ca: string | null
  readonly signatures: readonly NarInfoSignature[]
}

/** `Sig: <keyName>:<base64>`; the text is kept as it stands, so that one unreadable signature does not hide a good one. */
export type NarInfoSignature = { readonly keyName: string; readonly base64: string }

/**
 * The text that a narinfo signature is over: `1;<storePath>;sha256:<nix32>;<narSize>;<references>`, the references absolute,
 * sorted, each once, with commas.
 */
export function narInfoFingerprint(info: SignedPathInfo): string {
  return `1;${info.storePath};${info.narHash};${info.narSize};${sortedPaths(info.references).join(',')}`
}

/**
 * Reads a narinfo file. Strict where Nix is: every line ends in a line feed and has a space after its colon, path, URL, NAR hash
 * and size are present, `CA` is a content address. Stricter where two readers could see two files: no field that is known
 * appears twice, but for `Sig`, and a number has one spelling. Unknown fields are ignored, as Nix ignores them.
 * @returns null for anything else, and beyond 1 MiB.
 */
export function parseNarInfo(text: string): NarInfo | null {
  if (text.length > TEXT_LENGTH_MAX || !text.endsWith('\n')) return null
  const fields = new Map<string, string>()
  const signatures: NarInfoSignature[] = []
  for (const line of text.slice(0, -1).split('\n')) {
    const match = /^([\x20-\x39\x3b-\x7e]+): ([^\r\0]*)$/.exec(line)
    if (match === null) return null
    const [, name = '', value = ''] = match
    if (name === 'Sig') {
      const colon = value.indexOf(':')
      if (colon > 0) signatures.push({ keyName: value.slice(0, colon), base64: value.slice(colon + 1) })
    } else if (!KNOWN_FIELDS.has(name)) continue
    else if (fields.has(name)) return null
    else fields.set(name, value)
  }
  return interpret(fields, signatures)
}

export function renderNarInfo(info: NarInfo): string {
  const lines = [
    `StorePath: ${info.storePath}`,
    `URL: ${info.url}`,
    `Compression: ${info.compression}`,
    ...(info.fileHash === null ? [] : [`FileHash: ${info.fileHash}`]),
    ...(info.fileSize === null ? [] : [`FileSize: ${info.fileSize}`]),
    `NarHash: ${info.narHash}`,
    `NarSize: ${info.narSize}`,
    `References: ${sortedPaths(info.references).map(baseName).join(' ')}`,
    ...(info.deriver === null ? [] : [`Deriver: ${baseName(info.deriver)}`]),
    ...info.signatures.map(({ keyName, base64 }) => `Sig: ${keyName}:${base64}`),
    ...(info.ca === null ? [] : [`CA: ${info.ca}`]),
  ]
  return `${lines.join('\n')}\n`
}

function interpret(
  fields: ReadonlyMap<string, string>,
  signatures: readonly NarInfoSignature[],
): NarInfo | null {
  const storePath = parseStorePath(fields.get('StorePath') ?? '')
  const narHash = hash(fields.get('NarHash'))
  const narSize = size(fields.get('NarSize'))
  const references = storePaths(fields.get('References') ?? '')
  const url = fields.get('URL') ?? ''
  if (storePath === null || narHash === null || narSize === null || narSize === 0 || references === null)
    return null
  if (!/^[\x21-\x7e]{1,1000}$/.test(url)) return null
  const fileHash = hash(fields.get('FileHash'))
  const fileSize = size(fields.get('FileSize'))
  if ((fields.has('FileHash') && fileHash === null) || (fields.has('FileSize') && fileSize === null))
    return null
  const named = fields.get('Deriver')
  const deriver = named === undefined || named === 'unknown-deriver' ? null : storePathOfBaseName(named)
  if (deriver === null && named !== undefined && named !== 'unknown-deriver') return null
  const compression = fields.get('Compression') || 'bzip2'
  const ca = fields.get('CA') || null
  if (ca !== null && !isContentAddress(ca)) return null
  return {
    storePath,
    url,
    compression,
    fileHash,
    fileSize,
    narHash,
    narSize,
    references,
    deriver,
    ca,
    signatures,
  }
}

function hash(text: string | undefined): string | null {
  const bytes = text === undefined ? null : parseNixSha256(text)
  return bytes === null ? null : sha256ToNix32(bytes)
}

function size(text: string | undefined): number | null {
  if (text === undefined || !/^(?:0|[1-9][0-9]{0,15})$/.test(text)) return null
  const value = Number(text)
  return Number.isSafeInteger(value) ? value : null
}

function storePaths(text: string): readonly StorePath[] | null {
  const paths: StorePath[] = []
  for (const base of text.split(' ')) {
    if (base === '') continue
    const path = storePathOfBaseName(base)
    if (path === null) return null
    paths.push(path)
  }
  return paths
}

/** By bytes, each once. Store paths are ASCII, so the order of UTF-16 units is the order of bytes. */
export function sortedPaths(paths: readonly StorePath[]): readonly StorePath[] {
  return [...new Set(paths)].sort((a, b) => (a < b ? -1 : 1))
}

const KNOWN_FIELDS: ReadonlySet<string> = new Set([
  'StorePath',
  'URL',
  'Compression',
  'FileHash',
  'FileSize',
  'NarHash',
  'NarSize',
  'References',
  'Deriver',
  'CA',
])

/** A system with ten thousand references fits. */
const TEXT_LENGTH_MAX = 1024 * 1024
