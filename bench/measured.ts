/** What a benchmark prints. */
export type Measured = {
  readonly settings: Readonly<Record<string, unknown>>
  /** One row a side; the rival always runs in the same run. */
  readonly rows: readonly Readonly<Record<string, string | number>>[]
  /** The ratio, and what is to be reached. */
  readonly verdict: string
}
