import { execFileSync } from 'node:child_process'
import { mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type FleetRepository, fleetRepository } from '../../../test/fixtures/fleet/repository.ts'
import { branchHead, fetchBranch, type Git, isAncestor, listCommits, parseLog } from './git.ts'
import { gitEnvironment } from './git-environment.ts'

const directory = realpathSync(mkdtempSync(join(tmpdir(), 'git-')))
const mirror = join(directory, 'mirrors/fleet.git')
const git: Git = {
  env: gitEnvironment({ path: '/usr/bin:/bin', home: directory, access: { localAllowed: true } }),
  policy: { hosts: ['127.0.0.1:1'], localPaths: [directory] },
  timeoutMs: 20_000,
}
let fleet: FleetRepository
const repository = { kind: 'local', path: join(directory, 'fleet') } as const
const bump = (from: string, to: string) =>
  fleet.commit({ file: 'hosts/web-1.nix', replace: `nginx = "${from}"`, by: `nginx = "${to}"` })

beforeAll(() => {
  fleet = fleetRepository(repository.path)
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

describe('git', () => {
  it('asks for the head of a branch, mirrors it and lists what is new, newest first', async () => {
    expect(await branchHead(git, repository, 'main')).toEqual({ kind: 'head', rev: fleet.rev })
    expect(await fetchBranch(git, { repository, branch: 'main', mirror })).toEqual({
      kind: 'head',
      rev: fleet.rev,
    })
    const second = bump('1.26.1', '1.26.2')
    const third = bump('1.26.2', '1.26.3')
    expect(await fetchBranch(git, { repository, branch: 'main', mirror })).toEqual({
      kind: 'head',
      rev: third,
    })
    const list = await listCommits(git, { mirror, branch: 'main', since: fleet.rev, max: 10 })
    expect(list).toEqual({
      kind: 'commits',
      more: false,
      rewritten: false,
      commits: [
        expect.objectContaining({ rev: third, parents: [second], committedAt: '2026-11-22T12:02:00.000Z' }),
        expect.objectContaining({
          rev: second,
          subject: 'hosts/web-1.nix: nginx = "1.26.2"',
          authoredAt: '2026-11-22T12:01:00.000Z',
        }),
      ],
    })
    expect(await listCommits(git, { mirror, branch: 'main', since: null, max: 1 })).toMatchObject({
      commits: [{ rev: third }],
      more: true,
    })
  })

  it('follows a rewritten branch and says that it was rewritten', async () => {
    const before = await fetchBranch(git, { repository, branch: 'main', mirror })
    const lost = before.kind === 'head' ? before.rev : ''
    execFileSync('git', ['-C', repository.path, 'reset', '--quiet', '--hard', fleet.rev])
    const rewritten = bump('1.26.1', '1.27.0')
    expect(await fetchBranch(git, { repository, branch: 'main', mirror })).toEqual({
      kind: 'head',
      rev: rewritten,
    })
    expect(await isAncestor(git, { mirror, rev: lost, of: 'refs/heads/main' })).toEqual({
      kind: 'not-on-branch',
    })
    expect(await isAncestor(git, { mirror, rev: fleet.rev, of: rewritten })).toEqual({ kind: 'ancestor' })
    expect(await isAncestor(git, { mirror, rev: '0'.repeat(40), of: rewritten })).toEqual({
      kind: 'not-on-branch',
    })
    expect(await listCommits(git, { mirror, branch: 'main', since: lost, max: 10 })).toMatchObject({
      rewritten: true,
      commits: [{ rev: rewritten }, { rev: fleet.rev }],
    })
  })

  it('says which branch is missing', async () => {
    expect(await branchHead(git, repository, 'nope')).toMatchObject({ class: 'unknown-ref' })
    expect(await fetchBranch(git, { repository, branch: 'nope', mirror })).toMatchObject({
      class: 'unknown-ref',
    })
  })

  it('classifies a forge that does not answer', async () => {
    const forge = { kind: 'forge', host: '127.0.0.1:1', owner: 'a', repo: 'b' } as const
    expect(await branchHead(git, forge, 'main')).toMatchObject({ class: 'unreachable' })
    expect(await branchHead(git, { ...forge, via: 'ssh' }, 'main')).toMatchObject({ class: 'unreachable' })
    expect(await branchHead({ ...git, signal: AbortSignal.abort() }, forge, 'main')).toMatchObject({
      class: 'cancelled',
    })
  })

  it('refuses a repository, a branch and a transport that the policy does not name', async () => {
    await expect(branchHead(git, { kind: 'local', path: '/etc' }, 'main')).rejects.toThrow('not declared')
    await expect(branchHead(git, repository, '--upload-pack=x')).rejects.toThrow('not a branch name')
    const closed = {
      ...git,
      env: gitEnvironment({ path: '/usr/bin:/bin', home: directory, access: { localAllowed: false } }),
    }
    expect(await branchHead(closed, repository, 'main')).toMatchObject({
      kind: 'failed',
      message: expect.stringContaining('not allowed'),
    })
  })

  it('quotes nothing for a shell: a file name that would need it is refused', () => {
    for (const sshKeyFile of ['/key; rm -rf x', "/k'ey", 'key', '/$(id)', '/a b']) {
      expect(() =>
        gitEnvironment({ path: '', home: '/', access: { localAllowed: false, sshKeyFile } }),
      ).toThrow('sshKeyFile')
    }
  })

  it('reads subjects with control characters, and commits with a broken time', () => {
    const [commit] = parseLog(
      `${'a'.repeat(40)}\n${'b'.repeat(40)} ${'c'.repeat(40)}\n\n2026-11-22T12:00:00+02:00\nx\u001b[31m${'y'.repeat(300)}\0`,
    )
    expect(commit).toMatchObject({
      parents: [expect.any(String), expect.any(String)],
      authoredAt: '2026-11-22T10:00:00.000Z',
    })
    expect(commit?.subject).toMatch(/^x \[31my+$/)
    expect(commit?.subject).toHaveLength(200)
  })
})
