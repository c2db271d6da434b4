import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import {
  type BundleFault,
  compareBundle,
  type ExportManifest,
  type FoundFile,
  keyId,
  MANIFEST_FILE,
  parseEnvelope,
  parsePublicKey,
  parseStrictJson,
  type TrustedKey,
  verifyExportManifest,
} from '@crystal-forge/protocol'
import { defineCommand } from 'citty'
import type { Console } from '../console.ts'
import { CommandError, EXIT, type ExitCode } from '../exit.ts'
import { reason } from '../secret-file.ts'
import { wholeValue } from '../table.ts'
import type { Command } from './shared-arguments.ts'

/** `cf verify-export DIR --key FILE`: whether a bundle is what a control plane signed. It asks nobody. */
export function verifyExportCommand(console: Console): Command {
  return defineCommand({
    meta: {
      name: 'verify-export',
      description: 'Check a bundle of exports, offline, with a pinned public key',
    },
    args: {
      directory: { type: 'positional', required: true, description: 'Where cf export --bundle has put it' },
      key: {
        type: 'string',
        valueHint: 'FILE',
        required: true,
        description:
          'Public keys that you trust, one a line in base64; the server prints its own at its start',
      },
      json: { type: 'boolean', description: 'Print the answer as JSON' },
    },
    run: async ({ args }): Promise<ExitCode> => {
      const { directory } = args
      const trusted = await readKeys(args.key)
      const { manifest, signer } = await openManifest(directory, trusted, args.key)
      const faults = await faultsOf(directory, manifest)
      if (args.json === true)
        console.out(JSON.stringify({ valid: faults.length === 0, key_id: signer, faults, manifest }, null, 2))
      for (const { file, kind, detail } of faults) console.err(`${wholeValue(file)} is ${kind}: ${detail}`)
      if (faults.length > 0) return EXIT.failed
      if (args.json !== true) console.out(sentence(directory, manifest, signer))
      return EXIT.ok
    },
  })
}

async function readKeys(file: string): Promise<TrustedKey[]> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new CommandError(EXIT.usage, `the key file ${file} cannot be read: ${reason(cause)}`, { cause })
  })
  const lines = text.split('\n').filter((line) => !/^\s*(#|$)/.test(line))
  if (lines.length === 0 || lines.length > KEYS_MAX)
    throw new CommandError(EXIT.usage, `${file} holds ${lines.length} keys; expected 1 to ${KEYS_MAX}`)
  return lines.map((line, index) => {
    const publicKey = parsePublicKey(line)
    // A line may be a private key by mistake: it is not repeated here.
    if (publicKey === null)
      throw new CommandError(EXIT.usage, `key ${index + 1} of ${file} is not the base64 of 32 bytes`)
    return { keyId: keyId(publicKey), publicKey, role: 'exports', person: file }
  })
}

async function openManifest(
  directory: string,
  trusted: readonly TrustedKey[],
  keyFile: string,
): Promise<{ readonly manifest: ExportManifest; readonly signer: string }> {
  const file = join(directory, MANIFEST_FILE)
  const bytes = await readLimited(file)
  let envelope: unknown
  try {
    envelope = parseStrictJson(bytes)
  } catch (cause) {
    throw new CommandError(EXIT.failed, `${file} is no envelope: ${reason(cause)}`, { cause })
  }
  const verified = verifyExportManifest(envelope, trusted)
  if (verified.ok) return { manifest: verified.manifest, signer: verified.signer.keyId }
  const named = parseEnvelope(envelope)?.signatures.map((one) => one.keyId ?? 'a key without a name') ?? []
  switch (verified.code) {
    case 'malformed_envelope':
      throw new CommandError(EXIT.failed, `${file} is no envelope (DSSE)`)
    case 'wrong_payload_type':
      throw new CommandError(EXIT.failed, `${file} is a signed document of another kind`)
    case 'bad_signature':
      throw new CommandError(
        EXIT.failed,
        `${file} was changed, or is not signed by a key of ${keyFile}: it names ${named.join(', ')}`,
      )
    case 'malformed_manifest':
      throw new CommandError(EXIT.failed, `${file} is signed and yet no list of files: ${verified.detail}`)
  }
}

async function readLimited(file: string): Promise<Buffer> {
  try {
    const { size } = await stat(file)
    if (size > MANIFEST_BYTES_MAX)
      throw new Error(`it has ${size} bytes; at most ${MANIFEST_BYTES_MAX} are read`)
    return await readFile(file)
  } catch (cause) {
    throw new CommandError(EXIT.failed, `there is no list of files to check: ${reason(cause)}`, { cause })
  }
}

async function faultsOf(directory: string, manifest: ExportManifest): Promise<BundleFault[]> {
  const entries = await readdir(directory, { withFileTypes: true })
  const found: FoundFile[] = []
  const others: BundleFault[] = []
  for (const entry of entries.sort((one, other) => (one.name < other.name ? -1 : 1))) {
    if (entry.name === MANIFEST_FILE) continue
    if (entry.isFile()) found.push(await digest(directory, entry.name))
    // A link leads out of the bundle, and a directory is part of none.
    else others.push({ file: entry.name, kind: 'extra', detail: 'it is no plain file' })
  }
  return [...compareBundle(manifest, found), ...others]
}

async function digest(directory: string, name: string): Promise<FoundFile> {
  const hash = createHash('sha256')
  let bytes = 0
  try {
    for await (const chunk of createReadStream(join(directory, name))) {
      hash.update(chunk)
      bytes += chunk.length
    }
  } catch (cause) {
    throw new CommandError(EXIT.failed, `${join(directory, name)} cannot be read: ${reason(cause)}`, {
      cause,
    })
  }
  return { name, bytes, sha256: hash.digest('hex') }
}

function sentence(
  directory: string,
  { files, hosts, release, as_of }: ExportManifest,
  signer: string,
): string {
  const names = hosts.map(({ hostname }) => hostname)
  const who = names.length > 3 ? `${names.length} hosts` : names.join(', ')
  return `${directory}: ${files.length} files about ${who} as of ${as_of}, ${release}; whole, and signed by ${signer}`
}

/** A key is replaced now and then, and bundles of the one before it stay valid. */
const KEYS_MAX = 100
const MANIFEST_BYTES_MAX = 2 * 1024 * 1024
