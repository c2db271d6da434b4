import { open } from 'node:fs/promises'
import { parseSeed, type SecretSeed } from '@crystal-forge/protocol'

/**
 * Reads a private key file. Its mode must not let others read it: a key that was readable is a key that is known.
 * @throws {Error} naming the file and the remedy, never the content.
 */
export async function readSeedFile(path: string): Promise<SecretSeed> {
  const file = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
    throw new Error(`${path} cannot be read (${error.code}); make a key with cf keygen`)
  })
  try {
    const { mode } = await file.stat()
    if ((mode & 0o077) !== 0)
      throw new Error(
        `${path} can be read by others (mode ${(mode & 0o777).toString(8)}); run chmod 600 and rotate the key`,
      )
    const seed = parseSeed(await file.readFile('utf8'))
    if (seed === null)
      throw new Error(`${path} is not the base64 of a 32-byte Ed25519 seed; make one with cf keygen`)
    return seed
  } finally {
    await file.close()
  }
}
