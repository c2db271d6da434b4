import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { readFleetFile } from './fleet-file.ts'

let directory: string
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cf-fleet-file-'))
  await writeFile(join(directory, 'hook.secret'), 'sixteen bytes and more\n', { mode: 0o600 })
  await writeFile(join(directory, 'open.secret'), 'sixteen bytes and more\n')
  await chmod(join(directory, 'open.secret'), 0o644)
  await writeFile(join(directory, 'empty.secret'), '\n', { mode: 0o600 })
})
afterAll(() => rm(directory, { recursive: true }))

async function file(text: string): Promise<string> {
  const path = join(directory, 'fleet.toml')
  await writeFile(path, text)
  return path
}

test('a declaration is read with its defaults, and hook secrets from files beside it', async () => {
  const path = await file(`
[[flakes]]
name = "fleet"
repo_url = "git+ssh://git@git.example.com/ops/fleet"
[[hooks]]
flake = "fleet"
provider = "github"
secret_file = "hook.secret"
[[systems]]
hostname = "web-1"
flake_name = "fleet"
`)
  const { document, warnings } = await readFleetFile(path)
  expect(warnings).toEqual([])
  expect(document.hooks).toEqual([{ flake: 'fleet', provider: 'github', secret: 'sixteen bytes and more' }])
  expect(document.flakes[0]).toMatchObject({ auto_poll: true, poll_interval_s: 600 })
  expect(document.systems).toEqual([{ hostname: 'web-1', flake_name: 'fleet', deployment_policy: 'manual' }])
})

test('a configuration of the original is read; what belongs to programs or had no effect is warned of once', async () => {
  const path = await file(`
[database]
host = "/run/postgresql"
[server]
port = 3000
[flakes]
flake_polling_interval = "10m"
commit_evaluation_interval = "1m"
build_processing_interval = 60
watched = [{ name = "fleet", repo_url = "https://git.example.com/ops/fleet", auto_poll = true, initial_commit_depth = 7 }]
[[environments]]
name = "prod"
description = "Production"
is_active = true
risk_profile = "HIGH"
compliance_level = "STIG"
[[systems]]
hostname = "web-1"
public_key = "${'A'.repeat(43)}="
environment = "prod"
flake_name = "fleet"
deployment_policy = "manual"
`)
  const { document, warnings } = await readFleetFile(path)
  expect(document.flakes).toEqual([
    {
      name: 'fleet',
      repo_url: 'https://git.example.com/ops/fleet',
      local: false,
      auto_poll: true,
      poll_interval_s: 600,
      initial_commit_depth: 7,
    },
  ])
  expect(document.environments).toHaveLength(1)
  expect(warnings).toHaveLength(2)
  expect(warnings[0]).toContain('[database], [server]')
  expect(warnings[1]).toContain('flakes.commit_evaluation_interval, flakes.build_processing_interval')
})

test('the same words as JSON are read', async () => {
  const path = await file('{"systems": [{"hostname": "web-1", "desired_target": null}]}')
  expect((await readFleetFile(path)).document.systems[0]).toMatchObject({ desired_target: null })
})

test.each([
  ['a mistake in TOML', '[[systems]]\nhostname = "web-1\n', /fleet\.toml:2:\d+: /],
  ['a key that stands twice', '[[systems]]\nhostname = "a"\nhostname = "b"\n', /fleet\.toml:3:\d+: /],
  ['a mistake in JSON', '{"systems": [}', /fleet\.toml: /],
  ['an unknown section', '[sytems]\n', /"sytems"/],
  ['an unknown member', '[[systems]]\nhostname = "web-1"\ncolour = "red"\n', /systems\.0.*"colour"/],
  [
    'a bad value',
    '[[systems]]\nhostname = "web-1"\ndeployment_policy = "yolo"\n',
    /systems\.0\.deployment_policy \("web-1"\) is "yolo": /,
  ],
  [
    'a host that stands twice',
    '[[systems]]\nhostname = "a"\n[[systems]]\nhostname = "a"\n',
    /"a" stands twice/,
  ],
  [
    'a secret in the file',
    '[[hooks]]\nflake = "f"\nprovider = "github"\nsecret = "sixteen bytes and more"\n',
    /secret_file/,
  ],
  [
    'a secret that everybody can read',
    '[[hooks]]\nflake = "f"\nprovider = "github"\nsecret_file = "open.secret"\n',
    /chmod 600/,
  ],
  ['an empty secret', '[[hooks]]\nflake = "f"\nprovider = "github"\nsecret_file = "empty.secret"\n', /empty/],
  [
    'a secret that is not there',
    '[[hooks]]\nflake = "f"\nprovider = "github"\nsecret_file = "none"\n',
    /could not be read/,
  ],
  ['a bad interval', '[flakes]\nflake_polling_interval = "soon"\n', /flake_polling_interval is "soon"/],
  ['an unknown key of the original', '[flakes]\nwached = []\n', /flakes\.wached is unknown/],
  ['control characters', '[[systems]]\nhostname = "a\\u001b[31m"\n', /systems\.0\.hostname/],
])('%s is refused with its place', async (_, text, message) => {
  await expect(readFleetFile(await file(text))).rejects.toMatchObject({
    exitCode: 2,
    message: expect.stringMatching(message),
  })
})

test('a secret never stands in a message', async () => {
  const path = await file('[[hooks]]\nflake = "f"\nprovider = "nope"\nsecret_file = "hook.secret"\n')
  await expect(readFleetFile(path)).rejects.toThrow(
    expect.objectContaining({ message: expect.not.stringContaining('sixteen bytes') }),
  )
})
