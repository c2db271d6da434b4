import type { ColumnType, DB } from './database.generated.ts'

/** A row of a table or view as a query of all its columns returns it. */
export type Row<Name extends keyof DB> = { readonly [Column in keyof DB[Name]]: Selected<DB[Name][Column]> }

type Selected<Column> = Column extends ColumnType<infer Value, infer _Insert, infer _Update> ? Value : Column
