import { constants } from 'node:fs'
import { type FileHandle, open, rm, writeFile } from 'node:fs/promises'
import { CommandError, EXIT } from './exit.ts'

/**
 * Reads a file that holds a secret; surrounding white space is trimmed. A file that everybody on the machine can read is
 * refused: its secret is no secret any more.
 */
export async function readSecretFile(path: string, what: string): Promise<string> {
  const file = await openFile(path, what)
  try {
    const { mode, size } = await file.stat()
    if ((mode & 0o007) !== 0)
      throw new CommandError(EXIT.usage, `${what} ${path} can be read by everybody: run chmod 600 ${path}`)
    if (size > SECRET_BYTES_MAX)
      throw new CommandError(
        EXIT.usage,
        `${what} ${path} has ${size} bytes; at most ${SECRET_BYTES_MAX} are read`,
      )
    const text = (await file.readFile('utf8')).trim()
    if (text === '') throw new CommandError(EXIT.usage, `${what} ${path} is empty`)
    return text
  } finally {
    await file.close()
  }
}

/** Writes a new file that only its owner can read, from its first moment on. An existing file is never touched. */
export async function writeNewFile(path: string, content: string, mode: number): Promise<void> {
  let file: FileHandle
  try {
    file = await open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, mode)
  } catch (cause) {
    if (hasCode(cause, 'EEXIST'))
      throw new CommandError(
        EXIT.failed,
        `${path} exists and is not overwritten: choose another name or remove it`,
      )
    throw new CommandError(EXIT.failed, `${path} could not be made: ${reason(cause)}`, { cause })
  }
  try {
    await file.chmod(mode)
    await file.writeFile(content)
    await file.sync()
  } finally {
    await file.close()
  }
}

/**
 * Makes a new file for a secret that is yet to be had, and fills it. The file comes first, so that no token is spent on a file that
 * cannot be written; when there is no secret in the end, the file is gone again.
 */
export async function writeNewSecret<Answer>(
  path: string,
  obtain: () => Promise<{ readonly secret: string; readonly answer: Answer }>,
): Promise<Answer> {
  await writeNewFile(path, '', 0o600)
  try {
    const { secret, answer } = await obtain()
    await writeFile(path, `${secret}\n`)
    return answer
  } catch (error) {
    await rm(path, { force: true })
    throw error
  }
}

async function openFile(path: string, what: string): Promise<FileHandle> {
  try {
    return await open(path, 'r')
  } catch (cause) {
    throw new CommandError(EXIT.usage, `${what} ${path} could not be read: ${reason(cause)}`, { cause })
  }
}

export function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}

export function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

const SECRET_BYTES_MAX = 16 * 1024
