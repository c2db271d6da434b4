import { open, rename, rm } from 'node:fs/promises'
import path from 'node:path'

/**
 * Replaces a file so that after a loss of power it holds the old content or the new one, whole. When the promise resolves the new
 * content is durable; when it rejects either may be there, and `FILE.tmp` may be left behind.
 * @param mode of the new file, 0600 unless said otherwise.
 */
export async function writeDurably(file: string, content: string | Uint8Array, mode = 0o600): Promise<void> {
  const temporary = `${file}.tmp`
  try {
    await using handle = await open(temporary, 'w', mode)
    await handle.writeFile(content)
    await handle.sync()
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
  await rename(temporary, file)
  await using directory = await open(path.dirname(file), 'r')
  await directory.sync()
}
