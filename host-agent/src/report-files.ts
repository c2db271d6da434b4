import { mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import path from 'node:path'
import { writeDurably } from './durable-write.ts'

/**
 * Where the spool keeps its files: names without directories, in two places, `spool` and `quarantine`.
 * `write` is atomic and durable when it resolves; when it rejects the file may be there, whole, or not. `remove` and `move` are
 * atomic but may be undone by a loss of power. None of them retries. A name that is not there is no error for `remove`.
 */
export type ReportFiles = {
  list(place: Place): Promise<readonly { readonly name: string; readonly bytes: number }[]>
  read(name: string): Promise<Uint8Array>
  write(name: string, content: Uint8Array): Promise<void>
  remove(place: Place, name: string): Promise<void>
  moveToQuarantine(name: string): Promise<void>
}
export type Place = 'spool' | 'quarantine'

/** The files in two directories under `directory`, which are made with mode 0700. Leftovers of interrupted writes are removed. */
export async function reportFilesIn(directory: string): Promise<ReportFiles> {
  const place = (name: Place) => path.join(directory, name)
  for (const name of ['spool', 'quarantine'] as const) {
    await mkdir(place(name), { recursive: true, mode: 0o700 })
  }
  for (const name of await readdir(place('spool'))) {
    if (name.endsWith('.tmp')) await rm(path.join(place('spool'), name), { force: true })
  }
  return {
    async list(from) {
      const names = await readdir(place(from))
      const files = await Promise.all(
        names
          .filter((name) => !name.endsWith('.tmp'))
          .map(async (name) => ({ name, bytes: (await stat(path.join(place(from), name))).size })),
      )
      return files.toSorted((a, b) => (a.name < b.name ? -1 : 1))
    },
    read: (name) => readFile(path.join(place('spool'), name)),
    write: (name, content) => writeDurably(path.join(place('spool'), name), content),
    remove: (from, name) => rm(path.join(place(from), name), { force: true, recursive: true }),
    moveToQuarantine: (name) => rename(path.join(place('spool'), name), path.join(place('quarantine'), name)),
  }
}
