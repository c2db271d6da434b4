import { execFile } from 'node:child_process'
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { generateKeyPair, keyId, renderPublicKey } from '@crystal-forge/protocol'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Console } from '../../cli/src/console.ts'
import { run } from '../../cli/src/run.ts'
import { type OperatorWorld, operatorWorld, path, rev } from './world.ts'

let world: OperatorWorld
let directory: string
type Ran = { readonly code: number; readonly out: string; readonly err: string }

async function cf(argv: readonly string[], env: Record<string, string | undefined> = {}): Promise<Ran> {
  const out: string[] = []
  const err: string[] = []
  const console: Console = {
    env: { CF_SERVER: world.url, CF_TOKEN_FILE: join(directory, 'token'), ...env },
    home: directory,
    hostname: 'here',
    now: () => new Date(),
    fetch,
    out: (line) => out.push(line),
    err: (line) => err.push(line),
    sleep: async () => {},
    ask: async () => null,
  }
  const code = await run(argv, console)
  return { code, out: out.join('\n'), err: err.join('\n') }
}

beforeAll(async () => {
  world = await operatorWorld()
  directory = await mkdtemp(join(tmpdir(), 'cf-cli-'))
  await writeFile(join(directory, 'token'), `${world.tokens.admin}\n`, { mode: 0o600 })
  await writeFile(join(directory, 'viewer'), world.tokens.viewer, { mode: 0o600 })
  await writeFile(join(directory, 'hook.secret'), 'sixteen bytes and more', { mode: 0o600 })
  await writeFile(
    join(directory, 'fleet.toml'),
    `
[[environments]]
name = "production"
[[flakes]]
name = "fleet"
repo_url = "https://git.example.com/ops/fleet"
auto_poll = false
[[hooks]]
flake = "fleet"
provider = "github"
secret_file = "hook.secret"
[[builders]]
name = "builder-1"
public_key = "${renderPublicKey(generateKeyPair().publicKey)}"
[[systems]]
hostname = "web-1"
environment = "production"
flake_name = "fleet"
[[systems]]
hostname = "db-1"
environment = "production"
flake_name = "fleet"
[[systems]]
hostname = "stray"
flake_name = "fleet"
configuration = "web-1"
`,
  )
})
afterAll(async () => {
  await world.stop()
  await rm(directory, { recursive: true })
})

describe('cf apply', () => {
  const file = (): string => join(directory, 'fleet.toml')

  test('a dry run prints the plan and changes nothing', async () => {
    const { code, out, err } = await cf(['apply', '-f', file(), '--dry-run'])
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(out).toMatchInlineSnapshot(`
      "+ environment production
      + flake fleet
      + hook fleet/github
      + builder builder-1
      + key builder-1
      + system web-1
      + system db-1
      + system stray
      dry run: 8 to create"
    `)
    expect((await cf(['systems'])).out).toBe('none')
  })

  test('applying says where the forge must deliver, and a second time there is nothing to do', async () => {
    const first = await cf(['apply', '-f', file()])
    expect(first.out).toContain('applied: 8 created')
    expect(first.out).toMatch(
      /^hook fleet\/github delivers to http:\/\/127\.0\.0\.1:[0-9]+\/v1\/hooks\/[A-Za-z0-9_-]{32}$/m,
    )
    expect((await cf(['apply', '-f', file()])).out).toMatch(/nothing to do: 7 entries are as declared$/)
    const json = JSON.parse((await cf(['apply', '-f', file(), '--json'])).out)
    expect(json.changes.find((one: { kind: string }) => one.kind === 'hook').path).toMatch(/^\/v1\/hooks\//)
  })

  test('what changed is shown field by field; what is gone stays until --prune', async () => {
    const other = join(directory, 'other.toml')
    await writeFile(other, '[[systems]]\nhostname = "web-1"\nenvironment = "staging"\nflake_name = "fleet"\n')
    const { out } = await cf(['apply', '-f', other, '--dry-run'])
    expect(out).toContain('~ system web-1  environment: production -> staging')
    expect(out).toContain('? system db-1  is not declared and stays; --prune deactivates it')
    const pruned = await cf(['apply', '-f', other, '--dry-run', '--prune'])
    expect(pruned).toMatchObject({
      code: 2,
      err: expect.stringContaining('flake_name of "web-1" is "fleet"'),
    })
  })

  test.each([
    ['no file', ['apply'], 2, '--file'],
    [
      'a file that is not there',
      ['apply', '-f', '/nonexistent.toml'],
      2,
      '/nonexistent.toml could not be read',
    ],
    ['a mistyped flag', ['apply', '-f', 'x', '--dry-rum'], 2, '--dry-rum'],
    ['a flag without its value', ['apply', '-f'], 2, "'-f, --file"],
  ])('%s is refused before anything is sent', async (_, argv, code, words) => {
    const ran = await cf(argv)
    expect(ran.code).toBe(code)
    expect(ran.err).toContain(words)
    expect(ran.err.split('\n')).toHaveLength(1)
  })
})

describe('lists and verdicts', () => {
  beforeAll(async () => {
    await world.commits('fleet', [rev('1')])
    await world.evaluate(rev('1'), 'web-1', { outPath: path('a', 'nixos-system-web-1-25.11') })
    await world.evaluate(rev('1'), 'db-1', { outPath: path('d', 'nixos-system-db-1-25.11') })
    await world.commits('fleet', [rev('2')])
    await world.evaluate(rev('2'), 'web-1', { outPath: path('b', 'nixos-system-web-1-25.11') })
    await world.evaluate(rev('2'), 'db-1', { error: 'error: no such option\n\u001b[31m at db-1.nix:3' })
    await world.built(path('a', 'nixos-system-web-1-25.11'), [
      path('a', 'nixos-system-web-1-25.11'),
      path('c', 'nginx-1.26.1'),
    ])
    await world.built(path('b', 'nixos-system-web-1-25.11'), [
      path('b', 'nixos-system-web-1-25.11'),
      path('f', 'nginx-1.26.2'),
    ])
    await world.report('web-1', { current: path('a', 'nixos-system-web-1-25.11') })
    await world.report('db-1', { current: path('d', 'nixos-system-db-1-25.11') })
    await world.report('stray', { current: path('z', 'nixos-system-unknown') })
  })

  test('the fleet at a glance', async () => {
    const { code, out } = await cf(['drift'])
    expect(code).toBe(0)
    expect(out).toMatchInlineSnapshot(`
      "HOST   VERDICT            BEHIND  RUNS          DESIRED       HEALTH   SCAN       REBOOT  NOTE
      db-1   evaluation_failed  0       111111111111  111111111111  healthy  unscanned  -       error: no such option…
      stray  unattributed       -       -             222222222222  healthy  unscanned  -       no known commit yields the path that it runs
      web-1  behind             1       111111111111  222222222222  healthy  unscanned  -       it is 1 commit behind

      1 behind, 1 evaluation_failed, 1 unattributed"
    `)
    expect((await cf(['drift', '--exit-code'])).code).toBe(10)
    expect((await cf(['drift', '--exit-code', '--verdict', 'up_to_date'])).code).toBe(0)
  })

  test('one host with its four paths, commits and packages', async () => {
    const { out } = await cf(['drift', 'web-1'])
    expect(out.replace(/last seen .*/, 'last seen T')).toMatchInlineSnapshot(`
      "web-1  behind: it is 1 commit behind
      follows fleet#web-1, policy manual, healthy, last seen T

        desired  /nix/store/bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb-nixos-system-web-1-25.11
        profile  /nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-nixos-system-web-1-25.11
        current  /nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-nixos-system-web-1-25.11
        booted   /nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-nixos-system-web-1-25.11

      1 commit behind:
        222222222222  change 2222

      packages, running to desired:
        ~ nginx  1.26.1 -> 1.26.2
        1 paths of the same versions were built anew

      vulnerabilities: what it runs was never scanned"
    `)
    expect((await cf(['drift', 'web-1', '--exit-code'])).code).toBe(10)
    const stray = await cf(['drift', 'stray'])
    expect(stray.out).toContain('packages: the running closure is not known, so nothing can be compared')
  })

  test('an error text comes whole and cannot steer the terminal', async () => {
    const { out } = await cf(['drift', 'db-1'])
    expect(out).toContain(
      'commit 222222222222 does not evaluate:\n  error: no such option\n  ·[31m at db-1.nix:3',
    )
  })

  test.each([
    [['systems', '--verdict', 'behind'], 'web-1'],
    [['flakes'], 'https://git.example.com/ops/fleet'],
    [['commits', '--flake', 'fleet'], '222222222222'],
    [['evaluations', '--state', 'error'], 'error: no such option'],
    [['jobs', '--kind', 'build'], 'nixos-system-web-1-25.11'],
    [['builders'], 'builder-1'],
    [['findings'], 'none'],
    [['events', '--type', 'config.changed'], 'config.changed'],
    [['system', 'show', 'web-1'], 'nixos-system-web-1-25.11'],
    [['status'], 'total systems: 3'],
  ])('cf %j prints what it is for', async (argv, words) => {
    const ran = await cf(argv)
    expect(ran).toMatchObject({ code: 0, err: '' })
    expect(ran.out).toContain(words)
    expect(JSON.parse((await cf([...argv, '--json'])).out)).toBeTypeOf('object')
  })

  test('pages are continued by their cursor or read to the end', async () => {
    const first = await cf(['commits', '--limit', '1'])
    const cursor = /--cursor (\S+),/.exec(first.err)?.[1] ?? ''
    expect((await cf(['commits', '--limit', '1', '--cursor', cursor])).out).toContain('111111111111')
    expect((await cf(['commits', '--limit', '1', '--all'])).out.split('\n')).toHaveLength(3)
  })

  test('a job says why it waits, is cancelled and tried again', async () => {
    const jobs = JSON.parse((await cf(['jobs', '--kind', 'build', '--json'])).out)
    const id = jobs.items[0].id
    expect((await cf(['why-waiting', id])).out).toContain(
      'no_builder_for_platform: no builder says that it can build for x86_64-linux',
    )
    expect((await cf(['job', 'cancel', id])).out).toBe(`${id} is cancelled`)
    expect(await cf(['job', 'cancel', id])).toMatchObject({
      code: 1,
      err: expect.stringContaining('is cancelled: only a job'),
    })
    expect((await cf(['job', 'retry', id])).out).toMatch(/^queued again as job_/)
    expect((await cf(['why-waiting', 'job_nope'])).code).toBe(3)
    const again = JSON.parse((await cf(['jobs', '--open', 'true', '--kind', 'build', '--json'])).out).items
    expect(again.map((job: { state: string }) => job.state)).toEqual(again.map(() => 'queued'))
    expect(again.map((job: { id: string }) => job.id)).not.toContain(id)
    expect((await cf(['jobs', '--open', 'false', '--kind', 'build'])).out).toContain(id)
  })

  test('a job is shown with its attempts and the end of its log, which cannot steer the terminal', async () => {
    const id = JSON.parse((await cf(['jobs', '--kind', 'build', '--open', 'true', '--json'])).out).items[0].id
    expect((await cf(['job', 'show', id])).out).toContain(
      'no builder has taken it yet: cf why-waiting says why',
    )
    await world.rows(
      `insert into job_attempt (tenant_id, job_id, fence, attempt, builder_id, outcome, failure_class, message, started_at, ended_at)
       select j.tenant_id, j.id, nextval('job_fence'), 1, b.id, 'failed', 'build', 'builder failed with exit code 2', now(), now()
       from job j, builder b where j.id = $1 and b.name = 'builder-1' and b.tenant_id = j.tenant_id`,
      [id],
    )
    await world.rows(`update job set log_tail = E'make: *** [all]\\x1b[2J Error 2' where id = $1`, [id])
    const { out, code } = await cf(['job', 'show', id])
    expect(code).toBe(0)
    expect(out).toMatch(/^ATTEMPT +FENCE +BUILDER +BEGAN +ENDED +OUTCOME +MESSAGE$/m)
    expect(out).toMatch(/ builder-1 .* failed +builder failed with exit code 2/)
    expect(out).toContain('the end of its log:\nmake: *** [all]·[2J Error 2')
    expect((await cf(['job', 'show', 'job_nope'])).code).toBe(3)
  })

  test('where a forge delivers to can be asked for later as well', async () => {
    const applied = await cf(['apply', '-f', join(directory, 'fleet.toml'), '--dry-run'])
    const address = /\/v1\/hooks\/\S+/.exec(applied.out)?.[0] ?? 'none'
    expect((await cf(['hooks', '--flake', 'fleet'])).out).toMatch(/^fleet +github +/m)
    expect((await cf(['hooks', '--flake', 'fleet'])).out).toContain(address)
    expect((await cf(['environments'])).out).toMatch(/^production +.* +[0-9]+ +true/m)
  })

  test('a flake is looked at without a webhook, once', async () => {
    const poll = (): Promise<Ran> => cf(['flake', 'poll', 'fleet'])
    const first = await poll()
    expect(first.out).toMatch(/^job_[0-9a-f]{32} (asks the forge|was about to ask already)$/)
    expect((await poll()).out).toBe(`${first.out.split(' ')[0]} was about to ask already`)
    expect((await cf(['flake', 'poll', 'nope'])).code).toBe(3)
  })
})

describe('tokens', () => {
  test('a token is printed alone on standard output, works, and is revoked', async () => {
    const made = await cf(['token', 'create', '--name', 'ci', '--role', 'viewer', '--expires', '1h'])
    expect(made.out).toMatch(/^cf_[A-Za-z0-9_-]{43}$/)
    const env = { CF_TOKEN_FILE: undefined, CF_TOKEN: made.out }
    expect((await cf(['systems'], env)).code).toBe(0)
    expect(await cf(['token', 'list'], env)).toMatchObject({
      code: 4,
      err: expect.stringContaining('needs the role admin'),
    })
    const id = JSON.parse((await cf(['token', 'list', '--json'])).out).items[0].id
    expect((await cf(['token', 'revoke', id])).out).toBe(`${id} (ci) is revoked`)
    expect((await cf(['systems'], env)).code).toBe(4)
    expect((await cf(['token', 'revoke', made.out])).code).toBe(2)
  })

  test('an enrolment token goes into a new file of its owner, and no file is left when there is no token', async () => {
    const out = join(directory, 'enrol')
    const made = await cf([
      'enroll-token',
      'create',
      '--host',
      'web-*',
      '--out',
      out,
      '--environment',
      'production',
    ])
    expect(made).toMatchObject({ code: 0, out: expect.stringContaining('enrols web-* once') })
    expect((await stat(out)).mode & 0o777).toBe(0o600)
    const token = (await readFile(out, 'utf8')).trim()
    expect(Buffer.from(token, 'base64url')).toHaveLength(32)
    expect(made.out + made.err).not.toContain(token)
    expect((await cf(['enroll-token', 'create', '--host', 'x', '--out', out])).code).toBe(1)
    const refused = await cf(['enroll-token', 'create', '--host', 'x', '--out', `${out}2`, '--flake', 'nope'])
    expect(refused.code).toBe(2)
    await expect(stat(`${out}2`)).rejects.toThrow()
  })

  test('an enrolment token that nobody has used is found and taken back', async () => {
    const out = join(directory, 'taken-back')
    const made = await cf(['enroll-token', 'create', '--host', 'lab-*', '--out', out, '--json'])
    const { id } = JSON.parse(made.out)
    const listed = await cf(['enroll-token', 'list', '--state', 'open', '--q', 'lab'])
    expect(listed.out.split('\n')).toEqual([
      expect.stringMatching(/^TOKEN +ENROLS +STATE/),
      expect.stringMatching(new RegExp(`^${id} +lab-\\* +open`)),
    ])
    expect((await cf(['enroll-token', 'revoke', id])).out).toBe(`${id} (for lab-*) is revoked`)
    expect((await cf(['enroll-token', 'list', '--state', 'open', '--q', 'lab'])).out).toBe('none')
    expect((await cf(['enroll-token', 'revoke', 'enr_nope'])).code).toBe(3)
    const token = `x${(await readFile(out, 'utf8')).trim().slice(1)}`
    const mistaken = await cf(['enroll-token', 'revoke', token])
    expect(mistaken).toMatchObject({ code: 2, err: expect.stringContaining('cf enroll-token list') })
    expect(mistaken.err).not.toContain(token)
  })

  test('a key of a host is revoked by its id, again without harm, and the reason is kept', async () => {
    const { publicKey } = generateKeyPair()
    const id = keyId(publicKey)
    const added = await world.api('POST', '/v1/systems/web-1/keys', {
      body: { public_key: renderPublicKey(publicKey) },
    })
    expect(added.status).toBe(201)
    expect(await cf(['key', 'revoke', id, '--because', 'the disk was stolen'])).toMatchObject({
      code: 0,
      out: `${id} of system web-1 is revoked`,
    })
    expect((await cf(['key', 'revoke', id])).code).toBe(0)
    expect((await cf(['key', 'revoke', id.replace('ed25519:', '')])).code).toBe(2)
    expect((await cf(['events', '--type', 'key.revoked', '--limit', '1'])).out).toContain(
      'because=the disk was stolen',
    )
    expect((await cf(['key', 'revoke', 'web-1'])).code).toBe(2)
    expect((await cf(['key', 'revoke', `ed25519:${'A'.repeat(43)}`])).code).toBe(3)
  })

  test('the wire of 0.2.x is opened for some hosts until a date, and closed', async () => {
    const tomorrow = new Date(Date.now() + 86_400_000).toISOString().slice(0, 10)
    expect(await cf(['original-wire', 'open', '--until', tomorrow, '--hosts', 'web-1'])).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^the original's wire is open until /),
    })
    expect(await cf(['original-wire', 'open', '--until', tomorrow, '--hosts', 'web-1,nope'])).toMatchObject({
      code: 3,
    })
    expect(await cf(['original-wire', 'open', '--until', '2001-01-01'])).toMatchObject({
      code: 2,
      err: expect.stringContaining('within the next year'),
    })
    expect((await cf(['original-wire', 'close'])).out).toMatch(/^the original's wire is closed: /)
  })

  test('an event says who did what', async () => {
    const { out } = await cf(['events', '--type', 'token.revoked', '--limit', '1'])
    expect(out).toMatch(/token\.revoked +operator admin of a test +enrols=lab-\* revoked=enr_/)
  })
})

describe('exit codes', () => {
  test('a server that is away is 5, one that is something else too', async () => {
    const away = await cf(['systems'], { CF_SERVER: 'http://127.0.0.1:1' })
    expect(away).toMatchObject({ code: 5, err: expect.stringContaining('could not be reached') })
    const other = createServer((_, response) => response.end('<html>hello</html>'))
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
    const address = other.address()
    const port = typeof address === 'object' && address !== null ? address.port : 0
    expect((await cf(['systems'], { CF_SERVER: `http://127.0.0.1:${port}` })).code).toBe(5)
    await new Promise((resolve) => other.close(resolve))
  })

  test.each([
    ['a host that does not exist', ['system', 'show', 'nobody'], {}, 3, '"nobody"'],
    ['a filter that is none', ['systems', '--verdict', 'fine'], {}, 2, 'verdict is "fine"'],
    ['a limit that is none', ['systems', '--limit', '0'], {}, 2, 'limit is "0"'],
    ['a cursor that is none', ['systems', '--cursor', '!!'], {}, 2, 'cursor is "!!"'],
    ['no server', ['systems'], { CF_SERVER: '' }, 2, 'CF_SERVER'],
    ['a server that is none', ['systems'], { CF_SERVER: 'ftp://x' }, 2, 'ftp://x'],
    ['plain http elsewhere', ['systems'], { CF_SERVER: 'http://cf.example.com' }, 2, 'https://'],
    ['no token', ['systems'], { CF_TOKEN_FILE: '' }, 4, '--token-file'],
    ['a malformed token', ['systems'], { CF_TOKEN_FILE: '', CF_TOKEN: 'cf_x' }, 4, 'malformed'],
    [
      'an unknown token',
      ['systems'],
      { CF_TOKEN_FILE: '', CF_TOKEN: `cf_${'x'.repeat(43)}` },
      4,
      'cf token create',
    ],
    ['a repeated flag', ['systems', '--q', 'a', '--q', 'b'], {}, 2, 'twice'],
    ['a name with a slash', ['system', 'show', 'a/b'], {}, 2, 'path'],
  ])('%s', async (_, argv, env, code, words) => {
    const ran = await cf(argv, env)
    expect(ran.code).toBe(code)
    expect(ran.out).toBe('')
    expect(ran.err).toContain(words)
    expect(ran.err).toMatch(/^cf: [^\n]+$/)
  })

  test('a token file that everybody can read is refused with the remedy', async () => {
    const open = join(directory, 'open')
    await writeFile(open, world.tokens.viewer)
    await chmod(open, 0o644)
    const ran = await cf(['systems', '--token-file', open])
    expect(ran).toMatchObject({ code: 2, err: expect.stringContaining(`chmod 600 ${open}`) })
    expect(ran.err).not.toContain(world.tokens.viewer)
  })

  test('a settings file names server and token', async () => {
    const settings = join(directory, '.config/crystal-forge')
    await promisify(execFile)('mkdir', ['-p', settings])
    await writeFile(
      join(settings, 'cli.toml'),
      `server = "${world.url}"\ntoken_file = "${join(directory, 'viewer')}"\n`,
    )
    expect((await cf(['systems'], { CF_SERVER: '', CF_TOKEN_FILE: '' })).code).toBe(0)
    await writeFile(join(settings, 'cli.toml'), 'token = "x"\n')
    expect((await cf(['systems'], { CF_SERVER: '', CF_TOKEN_FILE: '' })).code).toBe(2)
    await rm(join(settings, 'cli.toml'))
  })

  test('the program itself ends with the code and without colours', async () => {
    const main = new URL('../../cli/src/main.ts', import.meta.url).pathname
    const env = {
      PATH: process.env['PATH'],
      CF_SERVER: world.url,
      CF_TOKEN_FILE: join(directory, 'token'),
      HOME: directory,
    }
    const ran = await promisify(execFile)(process.execPath, [main, 'drift', '--exit-code'], { env }).catch(
      (error) => error,
    )
    expect(ran.code).toBe(10)
    expect(ran.stdout).toContain('web-1  behind')
    expect(ran.stdout).not.toContain('\u001b')
    const help = await promisify(execFile)(process.execPath, [main, '--help'], { env })
    expect(help.stdout).toContain('EXIT CODES')
  })
})
