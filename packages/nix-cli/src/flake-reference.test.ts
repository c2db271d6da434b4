import { parseRepositoryUrl } from '@crystal-forge/protocol'
import { describe, expect, it } from 'vitest'
import {
  FlakeReferenceError,
  flakeUrl,
  parseFlakeReference,
  repositoryOf,
  repositoryUrl,
} from './flake-reference.ts'

const policy = { hosts: ['git.example.com', 'git.example.com:8443'], localPaths: ['/srv/fleet'] }
const rev = 'a5fd3ee30236379eac5b7bc3ddc09a25aab4b59d'
const forge = { kind: 'forge', host: 'git.example.com', owner: 'infra', repo: 'fleet', rev }

describe('a flake reference', () => {
  it.each([
    [forge, `git+https://git.example.com/infra/fleet?rev=${rev}`],
    [{ ...forge, via: 'ssh' }, `git+ssh://git@git.example.com/infra/fleet?rev=${rev}`],
    [{ ...forge, host: 'git.example.com:8443' }, `git+https://git.example.com:8443/infra/fleet?rev=${rev}`],
    [{ ...forge, owner: 'infra/nixos' }, `git+https://git.example.com/infra/nixos/fleet?rev=${rev}`],
    [
      { ...forge, branch: 'release/25.11', dir: 'nixos/hosts' },
      `git+https://git.example.com/infra/fleet?rev=${rev}&ref=refs/heads/release/25.11&dir=nixos/hosts`,
    ],
    [{ kind: 'local', path: '/srv/fleet', rev }, `git+file:///srv/fleet?rev=${rev}`],
    [{ kind: 'local', path: '/srv/fleet/a.git', rev }, `git+file:///srv/fleet/a.git?rev=${rev}`],
  ])('%j becomes %s', (input, url) => {
    expect(flakeUrl(parseFlakeReference(input, policy), policy)).toBe(url)
  })

  it.each([
    ['host', { ...forge, host: 'evil.example.com' }],
    ['host', { ...forge, host: '-oProxyCommand=x' }],
    ['host', { ...forge, host: '127.0.0.1' }],
    ['host', { ...forge, host: 'user:pw@git.example.com' }],
    ['repo', { ...forge, repo: '..' }],
    ['repo', { ...forge, repo: 'fleet?ref=x' }],
    ['repo', { ...forge, repo: 'fleet#x' }],
    ['repo', { ...forge, repo: 'fleet/tree/x' }],
    ['repo', { ...forge, repo: '%2e%2e' }],
    ['repo', { ...forge, owner: '' }],
    ['repo', { ...forge, owner: 'a b' }],
    ['repo', { ...forge, owner: 'a\nb' }],
    ['rev', { ...forge, rev: 'main' }],
    ['rev', { ...forge, rev: rev.toUpperCase() }],
    ['rev', { ...forge, rev: `${rev}\n` }],
    ['rev', { ...forge, rev: 5 }],
    ['branch', { ...forge, branch: '--upload-pack=x' }],
    ['dir', { ...forge, dir: '../x' }],
    ['dir', { ...forge, dir: 'a&rev=b' }],
    ['path', { kind: 'local', path: '/etc', rev }],
    ['path', { kind: 'local', path: '/srv/fleet/../../etc', rev }],
    ['path', { kind: 'local', path: '/srv/fleet2', rev }],
    ['path', { kind: 'local', path: '/srv/fleet?x=y', rev }],
    ['path', { kind: 'local', path: 'path:/srv/fleet', rev }],
    ['kind', { kind: 'tarball', url: 'https://x', rev }],
    ['', { ...forge, extra: 1 }],
    ['', 'github:infra/fleet'],
  ])('refuses by its field "%s": %j', (field, input) => {
    try {
      parseFlakeReference(input, policy)
      expect.unreachable()
    } catch (error) {
      expect(error).toBeInstanceOf(FlakeReferenceError)
      expect(error).toHaveProperty('field', field)
    }
  })

  it('comes from what an administrator wrote', () => {
    for (const text of [
      'https://git.example.com:8443/infra/nixos/fleet',
      'ssh://git@git.example.com/infra/fleet',
      'file:///srv/fleet',
    ]) {
      expect(repositoryUrl(repositoryOf(parseRepositoryUrl(text)), policy)).toBe(text)
    }
    expect(() => repositoryOf(parseRepositoryUrl('http://git.example.com/infra/fleet'))).toThrow(
      'http is not accepted',
    )
  })
})
