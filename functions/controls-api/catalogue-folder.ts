import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { type Catalogue, readCatalogue } from '@crystal-forge/control-plane'

/** Reads the benchmark on the first question about it: most requests are about something else, and its texts are a megabyte. */
export function catalogueFolder(directory: string): () => Catalogue {
  let read: Catalogue | undefined
  return () => (read ??= readFolder(directory))
}

/** @throws {Error} naming every fault of a file. */
function readFolder(directory: string): Catalogue {
  const files = new Map(
    readdirSync(directory, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => {
        const file = join(entry.parentPath, entry.name)
        return [relative(directory, file), readFileSync(file)] as const
      }),
  )
  const catalogue = readCatalogue(files)
  if (!catalogue.ok) throw new Error(`${directory} is no catalogue: ${catalogue.faults.join('; ')}`)
  return catalogue.catalogue
}
