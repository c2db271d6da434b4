import { readFile, rename } from 'node:fs/promises'
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

/** Where a new key waits until it is known that the control plane has taken it. */
export function pendingKeyFile(file: string): string {
  return `${file}.next`
}

/**
 * The keys that may be the current one: the file's, then a pending one whose rotation may have taken effect although its answer was lost.
 * @throws Error that names the file and the remedy, never its content.
 */
export async function readHostKeys(file: string): Promise<readonly HostKey[]> {
  const keys = [await readHostKey(file), await readHostKey(pendingKeyFile(file))].filter(
    (key) => key !== null,
  )
  if (keys.length === 0) {
    throw new Error(
      `there is no key in ${file}; make one with "cf keygen" or enroll this host with "host-agent enroll"`,
    )
  }
  return keys
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

/** Makes a key and writes it with mode 0600, durable when it resolves. The caller has seen that the file is not there. */
export async function writeNewKey(file: string): Promise<HostKey> {
  const { seed } = generateKeyPair()
  try {
    await writeDurably(file, `${renderSeed(seed)}\n`, 0o600)
  } catch (error) {
    throw new Error(`cannot write the new key to ${path.dirname(file)}`, { cause: error })
  }
  return hostKey(seed, file)
}

/** Puts the pending key in the place of the old one. Another process may have done it already. */
export async function promotePendingKey(file: string): Promise<void> {
  try {
    await rename(pendingKeyFile(file), file)
  } catch (error) {
    if (!isMissing(error))
      throw new Error(`cannot replace ${file} by ${pendingKeyFile(file)}`, { cause: error })
  }
}

function hostKey(seed: SecretSeed, file: string): HostKey {
  const publicKey = publicKeyOfSeed(seed)
  return { seed, publicKey, keyId: keyId(publicKey), file }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}
