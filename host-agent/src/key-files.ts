import { readFile } from 'node:fs/promises'
import path from 'node:path'
import {
  generateKeyPair,
  keyId,
  parseSeed,
  publicKeyOfSeed,
  renderSeed,
  type SecretSeed,
} from '@crystal-forge/protocol'
import { writeDurably } from './durable-write.ts'

/** A private key of this host with the file it lies in. */
export type HostKey = {
  readonly seed: SecretSeed
  readonly publicKey: Uint8Array
  readonly keyId: string
  readonly file: string
}

/** Null when there is no such file. @throws Error when it holds something else than a key, or may not be read. */
export async function readHostKey(file: string): Promise<HostKey | null> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    if (isMissing(error)) return null
    throw new Error(`cannot read the key file ${file}`, { cause: error })
  }
  const seed = parseSeed(text)
  if (seed === null) throw new Error(`${file} is no key file; expected the base64 of 32 bytes`)
  return hostKey(seed, file)
}

/**
 * Makes a key and writes it with mode 0600, durable when it resolves. The caller has seen that the file is not there.
 * @param fileOf the file, by the id of the key.
 */
export async function writeNewKey(fileOf: (keyId: string) => string): Promise<HostKey> {
  const { seed, publicKey } = generateKeyPair()
  const file = fileOf(keyId(publicKey))
  try {
    await writeDurably(file, `${renderSeed(seed)}\n`, 0o600)
  } catch (error) {
    throw new Error(`cannot write the new key to ${path.dirname(file)}`, { cause: error })
  }
  return hostKey(seed, file)
}

function hostKey(seed: SecretSeed, file: string): HostKey {
  const publicKey = publicKeyOfSeed(seed)
  return { seed, publicKey, keyId: keyId(publicKey), file }
}

export function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}
