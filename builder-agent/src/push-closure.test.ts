import type { UploadedPath } from '@crystal-forge/protocol'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { referencesFirst } from './push-closure.ts'

function paths(edges: readonly (readonly [number, number])[], count: number): UploadedPath[] {
  const name = (index: number): string => `/nix/store/${String(index).padStart(32, '0')}-p`
  return Array.from({ length: count }, (_, index) => ({
    path: name(index),
    nar_hash: '',
    nar_size: 1,
    references: edges.filter(([from]) => from === index).map(([, to]) => name(to)),
    deriver: null,
    ca: null,
    url: '',
    compression: 'zstd',
    file_hash: '',
    file_size: 1,
  }))
}

test('whatever the order, every path comes once and after all it refers to', () => {
  const graph = fc.integer({ min: 1, max: 30 }).chain((count) =>
    fc.record({
      count: fc.constant(count),
      // From higher to lower or to itself: store paths refer to themselves, and to each other in no other circle.
      edges: fc
        .array(fc.tuple(fc.nat(count - 1), fc.nat(count + 2)), { maxLength: 80 })
        .map((pairs) => pairs.filter(([from, to]) => to <= from || to >= count)),
      shuffle: fc.shuffledSubarray([...Array(count).keys()], { minLength: count, maxLength: count }),
    }),
  )
  fc.assert(
    fc.property(graph, ({ count, edges, shuffle }) => {
      const all = paths(edges, count)
      const given = shuffle.flatMap((index) => all[index] ?? [])
      const ordered = referencesFirst(given)
      expect(new Set(ordered)).toEqual(new Set(given))
      expect(ordered).toHaveLength(given.length)
      const at = new Map(ordered.map(({ path }, index) => [path, index]))
      for (const [index, { path, references }] of ordered.entries())
        for (const reference of references)
          if (reference !== path) expect(at.get(reference) ?? -1).toBeLessThan(index)
    }),
  )
})

test('a chain of ten thousand does not exhaust the stack', () => {
  const count = 10_000
  const name = (index: number): string => `/nix/store/${String(index).padStart(32, '0')}-p`
  const [first] = paths([], 1)
  if (first === undefined) throw new Error('no path')
  const chain = Array.from({ length: count }, (_, index) => ({
    ...first,
    path: name(index),
    references: index + 1 < count ? [name(index + 1)] : [],
  }))
  const ordered = referencesFirst(chain)
  expect(ordered[0]?.path).toBe(name(count - 1))
  expect(ordered).toHaveLength(count)
})
