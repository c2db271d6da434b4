import type { Database } from './database.ts'
import { checkSchema } from './migrate.ts'

/** The schema is not one that this program can work on; the message names the files and what to do. */
export class UnfitSchema extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'UnfitSchema'
  }
}

/**
 * Refuses a schema that lacks one of the numbered files `known`, or has a breaking one besides: half of the statements of
 * this program would work on it, and the other half would fail in the middle of what they do.
 * @throws {UnfitSchema}
 */
export async function refuseUnfitSchema(database: Database, known: readonly string[]): Promise<void> {
  const schema = await checkSchema(database, known)
  switch (schema.kind) {
    case 'usable':
      return
    case 'behind':
      throw new UnfitSchema(
        `the schema lacks ${schema.missing.join(', ')}: run the migrations of this version first`,
      )
    case 'too-new':
      throw new UnfitSchema(
        `the schema has ${schema.breaking.join(', ')}, which programs of this version cannot live with: upgrade this program`,
      )
  }
}
