import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  branchOf,
  cloneUrl,
  isBranchName,
  isRepositoryFolder,
  parseRepositoryUrl,
  repositoryKey,
  sameRepository,
} from './repository-url.ts'

describe('a repository as people write it', () => {
  it.each([
    ['https://git.example.com/infra/fleet', 'https://git.example.com/infra/fleet', 'main'],
    ['https://git.example.com/infra/fleet.git', 'https://git.example.com/infra/fleet', 'main'],
    ['https://GIT.example.com/infra/fleet/', 'https://git.example.com/infra/fleet', 'main'],
    ['https://git.example.com:443/infra/fleet?ref=prod', 'https://git.example.com/infra/fleet', 'prod'],
    ['https://git.example.com:8443/infra/fleet', 'https://git.example.com:8443/infra/fleet', 'main'],
    [
      'git+https://git.example.com/infra/fleet?ref=release/25.11&dir=nixos',
      'https://git.example.com/infra/fleet',
      'release/25.11',
    ],
    ['git+ssh://git@git.example.com/infra/fleet.git', 'ssh://git@git.example.com/infra/fleet', 'main'],
    ['ssh://git@git.example.com:2222/infra/fleet', 'ssh://git@git.example.com:2222/infra/fleet', 'main'],
    ['git@git.example.com:infra/fleet.git', 'ssh://git@git.example.com/infra/fleet', 'main'],
    ['github:infra/fleet', 'https://github.com/infra/fleet', 'main'],
    ['github:infra/fleet/feature/x', 'https://github.com/infra/fleet', 'feature/x'],
    ['github:infra/fleet?host=ghe.example.com', 'https://ghe.example.com/infra/fleet', 'main'],
    ['gitlab:infra/fleet', 'https://gitlab.com/infra/fleet', 'main'],
    ['gitlab:infra%2Fnixos/fleet', 'https://gitlab.com/infra/nixos/fleet', 'main'],
    ['sourcehut:~infra/fleet', 'https://git.sr.ht/~infra/fleet', 'main'],
    ['https://github.com/infra/fleet/tree/feature/x', 'https://github.com/infra/fleet', 'feature/x'],
    ['https://gitlab.com/infra/nixos/fleet/-/tree/prod', 'https://gitlab.com/infra/nixos/fleet', 'prod'],
    ['https://git.example.com/infra/fleet/src/branch/prod', 'https://git.example.com/infra/fleet', 'prod'],
    ['git+file:///srv/fleet?ref=x', 'file:///srv/fleet', 'x'],
    ['/srv/git/fleet.git', 'file:///srv/git/fleet.git', 'main'],
  ])('%s is %s on %s', (text, clone, branch) => {
    const url = parseRepositoryUrl(text)
    expect([cloneUrl(url), branchOf(url)]).toEqual([clone, branch])
  })

  it.each([
    ['', 'printable'],
    ['-oProxyCommand=x', 'dash'],
    ['git+ssh://-oProxyCommand=x/a/b', 'host name'],
    ['https://user:secret@git.example.com/a/b', 'credentials'],
    ['https://git.example.com/a', 'owner and a repository'],
    ['https://git.example.com/a/../b', 'not the name'],
    ['https://git.example.com/a/%2e%2e', 'not the name'],
    ['https://git.example.com/a/b?rev=0000000000000000000000000000000000000000', 'pinned'],
    ['https://git.example.com/a/b?ref=--upload-pack=x', 'not a branch name'],
    ['https://git.example.com/a/b?dir=../x', 'folder inside'],
    ['https://git.example.com/a/b?x=1', 'unknown'],
    ['https://git.example.com/a/b/tree/x?ref=y', 'twice'],
    ['https://git.example.com:99999/a/b', 'port'],
    ['https://git.example.com/a/%', 'percent'],
    ['https://git.example.com/a/b.git.git', 'does not end in .git'],
    ['git@git.example.com:a/b.git.git/', 'does not end in .git'],
    ['github:a/b.git.git', 'does not end in .git'],
    ['path:/etc', 'https://host'],
    ['tarball:https://x/y.tar', 'https://host'],
    ['file:///etc/../root', 'absolute path'],
    ['nixpkgs', 'https://host'],
    ['https://exa mple.com/a/b', 'printable'],
    [`https://git.example.com/a/${'b'.repeat(3000)}`, 'longer'],
  ])('refuses %s because of: %s', (text, why) => {
    expect(() => parseRepositoryUrl(text)).toThrow(why)
  })

  it('does not repeat credentials in its message', () => {
    expect(() => parseRepositoryUrl('https://user:secret@git.example.com/a/b')).toThrow(/^(?!.*secret)/)
  })

  it('every transport of a repository is the same repository', () => {
    const forms = [
      'https://git.example.com/Infra/fleet.git',
      'git+ssh://git@git.example.com/infra/fleet',
      'ssh://git@git.example.com:2222/infra/fleet',
      'git@git.example.com:infra/fleet.git',
      'http://git.example.com/infra/fleet?ref=x',
    ].map(parseRepositoryUrl)
    for (const left of forms) {
      for (const right of forms.filter((form) => form.transport !== left.transport)) {
        expect(sameRepository(left, right)).toBe(true)
        expect(repositoryKey(left)).toBe(repositoryKey(right))
      }
    }
  })

  it.each([
    ['https://git.example.com/infra/fleet', 'https://git.example.com/infra/fleet2'],
    ['https://git.example.com/infra/fleet', 'https://git2.example.com/infra/fleet'],
    ['https://git.example.com:1/infra/fleet', 'https://git.example.com:2/infra/fleet'],
    ['/srv/fleet', '/srv/Fleet'],
  ])('%s is not %s', (left, right) => {
    expect(sameRepository(parseRepositoryUrl(left), parseRepositoryUrl(right))).toBe(false)
  })

  it('either refuses a text or gives a clone URL that it reads back as the same', () => {
    const piece = fc.constantFrom(
      'https://',
      'git+',
      'ssh://',
      'git@',
      'h',
      '.',
      '/',
      ':',
      '?ref=',
      '-',
      '%2F',
      '..',
      'a',
      '~',
      '.git',
      '/tree/',
      '&',
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 14 }), (pieces) => {
        let url: ReturnType<typeof parseRepositoryUrl>
        try {
          url = parseRepositoryUrl(pieces.join(''))
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError)
          return
        }
        // `...` and `..a` are names like any other; a segment of one or two dots is none.
        expect(cloneUrl(url)).not.toMatch(/:\/\/-|\/\.{1,2}(\/|$)|\s/)
        expect(sameRepository(parseRepositoryUrl(cloneUrl(url)), url)).toBe(true)
      }),
    )
  })
})

describe('names', () => {
  it.each(['main', 'feature/x', 'release-25.11', 'a@b', 'v1.0+rc'])('%s is a branch', (name) => {
    expect(isBranchName(name)).toBe(true)
  })
  it.each([
    '',
    '-x',
    'a..b',
    'a//b',
    '/a',
    'a/',
    'a.lock',
    'a/.b',
    'a b',
    'a~1',
    'a^',
    'a:b',
    '@',
    'x@{1}',
    'a\nb',
    'é',
  ])('%j is no branch', (name) => {
    expect(isBranchName(name)).toBe(false)
  })
  it.each([
    ['nixos/hosts', true],
    ['..', false],
    ['a/../b', false],
    ['/a', false],
    ['.git', false],
    ['', false],
    ['-a', false],
  ])('%j as a folder: %s', (folder, usable) => {
    expect(isRepositoryFolder(folder)).toBe(usable)
  })
})
