import { describe, expect, it } from 'vitest'
import {
  baseName,
  hashPart,
  isDrvPath,
  namePart,
  packageOf,
  parseDrvName,
  parseStorePath,
  storePath,
  storePathOfBaseName,
} from './store-path.ts'

const HASH = '3n58xw4373jp0ljirf06d8077j15pc4j'

describe('a store path', () => {
  it('has a hash, a name, a package name and a version', () => {
    const path = storePath(`/nix/store/${HASH}-nixos-system-web-1-25.11`)
    expect(hashPart(path)).toBe(HASH)
    expect(namePart(path)).toBe('nixos-system-web-1-25.11')
    expect(baseName(path)).toBe(`${HASH}-nixos-system-web-1-25.11`)
    expect(storePathOfBaseName(baseName(path))).toBe(path)
    expect(isDrvPath(path)).toBe(false)
    expect(isDrvPath(storePath(`/nix/store/${HASH}-x.drv`))).toBe(true)
  })

  it.each([
    '',
    '/nix/store',
    `/nix/store/${HASH}`,
    `/nix/store/${HASH}-`,
    `/nix/store/${HASH}-.x`,
    `/nix/store/${HASH}--x`,
    `/nix/store/${HASH}-a/b`,
    `/nix/store/${HASH}-a b`,
    `/nix/store/${HASH}-a\n`,
    `/nix/store/${HASH}-ä`,
    `/nix/store/${HASH}-${'a'.repeat(212)}`,
    `/nix/store/${HASH.replace('3', 'e')}-a`,
    `/nix/store/../store/${HASH}-a`,
    `/gnu/store/${HASH}-a`,
    `nix/store/${HASH}-a`,
  ])('is not %j', (text) => {
    expect(parseStorePath(text)).toBeNull()
    expect(() => storePath(text)).toThrow('not a store path')
  })

  it.each([
    ['hello-2.12.1', 'hello', '2.12.1'],
    ['hello', 'hello', ''],
    ['nix-0.12pre12876', 'nix', '0.12pre12876'],
    ['a-b-c-1-2', 'a-b-c', '1-2'],
    ['gcc-wrapper-14-20241116', 'gcc-wrapper', '14-20241116'],
    ['foo-', 'foo-', ''],
    ['glibc-2.42-67', 'glibc', '2.42-67'],
    ['x-+1', 'x', '+1'],
  ])('splits %s as Nix does', (text, name, version) => {
    expect(parseDrvName(text)).toEqual({ name, version })
  })

  it('does not count .drv as part of the version', () => {
    expect(packageOf(storePath(`/nix/store/${HASH}-hello-2.12.drv`))).toEqual({
      name: 'hello',
      version: '2.12',
    })
  })
})
