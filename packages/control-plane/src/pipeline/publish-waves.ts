/** What of a path decides when it may be published. */
export type Publishable = { readonly path: string; readonly references: readonly string[] }

export type Waves<Item> =
  | { readonly kind: 'waves'; readonly waves: readonly (readonly Item[])[] }
  /** Paths that refer to each other in a circle, which no store holds. */
  | { readonly kind: 'circle'; readonly paths: readonly string[] }

/**
 * Groups a batch so that every path comes in a later group than its references: narinfos of one group are written at the
 * same time, and a client that sees one finds all that it refers to. References outside of the batch are published
 * already, and a path may refer to itself.
 */
export function publishWaves<Item extends Publishable>(batch: readonly Item[]): Waves<Item> {
  const left = new Map(batch.map((item) => [item.path, item]))
  const waves: Item[][] = []
  while (left.size > 0) {
    const ready = [...left.values()].filter((item) =>
      item.references.every((reference) => reference === item.path || !left.has(reference)),
    )
    if (ready.length === 0) return { kind: 'circle', paths: [...left.keys()] }
    for (const { path } of ready) left.delete(path)
    waves.push(ready)
  }
  return { kind: 'waves', waves }
}
