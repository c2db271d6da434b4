import { type StorePath, storePath } from '@crystal-forge/protocol'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { packageDifferences } from './package-differences.ts'

const at = (letter: string, name: string): StorePath => storePath(`/nix/store/${letter.repeat(32)}-${name}`)

test('packages are added, removed and changed by name and version, outputs aside', () => {
  const before = [
    at('a', 'openssl-3.0.13'),
    at('b', 'openssl-3.0.13-lib'),
    at('c', 'nano-8.0'),
    at('d', 'glibc-2.40-66'),
  ]
  const after = [
    at('f', 'openssl-3.0.14'),
    at('g', 'openssl-3.0.14-lib'),
    at('d', 'glibc-2.40-66'),
    at('h', 'vim-9.1'),
  ]
  expect(packageDifferences(before, after)).toEqual({
    added: [{ name: 'vim', versions: ['9.1'] }],
    removed: [{ name: 'nano', versions: ['8.0'] }],
    changed: [{ name: 'openssl', from: ['3.0.13'], to: ['3.0.14'] }],
    rebuiltPaths: 0,
  })
})

test('a path that was built again with the same name and version is counted', () => {
  const found = packageDifferences([at('a', 'nginx-1.26.1')], [at('b', 'nginx-1.26.1')])
  expect(found).toEqual({ added: [], removed: [], changed: [], rebuiltPaths: 1 })
})

test('versions of one package are ordered as numbers', () => {
  const after = ['1.10', '1.9', '1.9-rc1'].map((version, n) => at('abc'[n] ?? 'a', `go-${version}`))
  expect(packageDifferences([], after).added).toEqual([{ name: 'go', versions: ['1.9', '1.9-rc1', '1.10'] }])
})

const paths = fc.array(
  fc
    .tuple(
      fc.constantFrom('a', 'b', 'c', 'd'),
      fc.constantFrom('nginx-1.1', 'nginx-1.2', 'etc', 'openssl-3.0-lib', 'openssl-3.1'),
    )
    .map(([letter, name]) => at(letter, name)),
)

test('a closure does not differ from itself, and the order of its paths does not matter', () => {
  fc.assert(
    fc.property(paths, paths, (before, after) => {
      expect(packageDifferences(before, before)).toEqual({
        added: [],
        removed: [],
        changed: [],
        rebuiltPaths: 0,
      })
      expect(packageDifferences(before.toReversed(), after)).toEqual(
        packageDifferences(before, after.toReversed()),
      )
      const there = packageDifferences(before, after)
      const back = packageDifferences(after, before)
      expect(back.added).toEqual(there.removed)
      expect(back.changed.map(({ name, from, to }) => ({ name, from: to, to: from }))).toEqual(there.changed)
    }),
  )
})
