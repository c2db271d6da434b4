import { randomBytes } from 'node:crypto'
import { mkdir, open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  decodeBase64,
  encodeBase64,
  generateKeyPair,
  parseSeed,
  publicKeyOfSeed,
  renderPublicKey,
  renderSeed,
} from '@crystal-forge/protocol'

/** Paths of the secrets of one installation, and the public halves that operators pin. */
export type SecretFiles = {
  readonly sealingKeyFile: string
  readonly jobSigningKeyFile: string
  /** Base64 of 32 bytes: `client.job_public_key` of a builder. */
  readonly jobPublicKey: string
  readonly narinfoKeyFile: string
  /** `name:base64`, as `trusted-public-keys` of Nix wants it. */
  readonly cachePublicKey: string
  readonly exportSigningKeyFile: string
  /** Base64 of 32 bytes: what auditors pin to verify bundles of exports. */
  readonly exportPublicKey: string
  readonly adminTokenFile: string
}

/**
 * Makes the secrets that are missing and reads the public halves of those that are there. Files are 0600 from their
 * first byte on, are never overwritten, and hold one line.
 */
export async function ensureSecretFiles(directory: string, cacheKeyName: string): Promise<SecretFiles> {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const path = (name: string): string => join(directory, name)
  const sealing = await ensure(path('sealing.key'), () => encodeBase64(randomBytes(32)))
  if (decodeBase64(sealing)?.length !== 32)
    throw new Error(`${path('sealing.key')} is not the base64 of 32 bytes; restore it from a backup`)
  const job = await ensure(path('job-signing.key'), () => renderSeed(generateKeyPair().seed))
  const narinfo = await ensure(path('narinfo.key'), () => `${cacheKeyName}:${nixSecretKey()}`)
  const exports = await ensure(path('export-signing.key'), () => renderSeed(generateKeyPair().seed))
  return {
    sealingKeyFile: path('sealing.key'),
    jobSigningKeyFile: path('job-signing.key'),
    jobPublicKey: publicHalf(path('job-signing.key'), job),
    narinfoKeyFile: path('narinfo.key'),
    cachePublicKey: cachePublicKey(path('narinfo.key'), narinfo),
    exportSigningKeyFile: path('export-signing.key'),
    exportPublicKey: publicHalf(path('export-signing.key'), exports),
    adminTokenFile: path('admin-token'),
  }
}

/** Creates a file that only its owner may read. @returns false when it was there already. */
export async function writeSecretOnce(path: string, text: string): Promise<boolean> {
  const file = await open(path, 'wx', 0o600).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'EEXIST') return undefined
    throw error
  })
  if (file === undefined) return false
  try {
    await file.writeFile(`${text}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
  return true
}

async function ensure(path: string, make: () => string): Promise<string> {
  await writeSecretOnce(path, make())
  return (await readFile(path, 'utf8')).trim()
}

/** Nix keeps an Ed25519 secret key as the seed followed by the public key (libsodium's form). */
function nixSecretKey(): string {
  const { seed, publicKey } = generateKeyPair()
  const bytes = decodeBase64(renderSeed(seed)) ?? new Uint8Array()
  return encodeBase64(Buffer.concat([bytes, publicKey]))
}

function publicHalf(path: string, text: string): string {
  const seed = parseSeed(text)
  if (seed === null) throw new Error(`${path} is not the base64 of a 32-byte seed; restore it from a backup`)
  return renderPublicKey(publicKeyOfSeed(seed))
}

function cachePublicKey(path: string, text: string): string {
  const [name, secret = ''] = text.split(':')
  const bytes = decodeBase64(secret)
  if (name === undefined || bytes === null || bytes.length !== 64)
    throw new Error(`${path} is not a Nix secret key (name:base64 of 64 bytes); restore it from a backup`)
  return `${name}:${encodeBase64(bytes.subarray(32))}`
}
