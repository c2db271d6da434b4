import { describe, expect, test } from 'vitest'
import { readConfig } from './config.ts'
import { parseDuration } from './config-values.ts'

const NEEDED = `
[builder]
server_url = "https://forge.example.com"
private_key = "/run/secrets/builder.key"
job_public_key = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
`

function accepted(text: string, environment: Record<string, string> = {}) {
  const read = readConfig(environment, NEEDED + text)
  if (!read.ok) throw new Error(read.errors.join('\n'))
  return read
}

function refused(text: string, environment: Record<string, string> = {}): readonly string[] {
  const read = readConfig(environment, text)
  return read.ok ? [] : read.errors
}

test('three values are enough, and the rest is what the original has', () => {
  const { config, warnings } = accepted('')
  expect(config.build).toMatchObject({
    max_jobs: 1,
    max_concurrent_derivations: 1,
    use_substitutes: true,
    max_silent_time: 3600,
    timeout: 7200,
    systemd_memory_max: '4G',
    systemd_cpu_quota: 300,
    systemd_timeout_stop_sec: 600,
  })
  expect(config).toMatchObject({ min_free_bytes: 2 * 1024 ** 3, parallel_uploads: 8, destination: null })
  expect(warnings).toEqual([])
})

test('sections and keys of the original in capitals, JSON, and the environment over both', () => {
  const json = JSON.stringify({
    BUILDER: {
      SERVER_URL: 'https://forge.example.com',
      PRIVATE_KEY: '/k',
      JOB_PUBLIC_KEY: '11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=',
    },
    BUILD: { TIMEOUT: '1h 30m', MAX_JOBS: 4 },
  })
  const read = readConfig(
    {
      CRYSTAL_FORGE__BUILD__MAX_JOBS: '7',
      CRYSTAL_FORGE__BUILD__SANDBOX: 'false',
      CRYSTAL_FORGE__BUILD__systemd_properties: 'TasksMax=3000 MemorySwapMax=2G',
    },
    json,
  )
  expect(read).toMatchObject({
    ok: true,
    config: {
      build: {
        timeout: 5400,
        max_jobs: 7,
        sandbox: false,
        systemd_properties: ['TasksMax=3000', 'MemorySwapMax=2G'],
      },
    },
  })
})

test('everything that is wrong is told at once, with its value and how to set what is missing', () => {
  const errors = refused('[builder]\nserver_url = "forge"\n[build]\nmax_jobs = 0\ntimeout = "soon"')
  expect(errors).toEqual([
    'builder.server_url: expected a URL such as https://forge.example.com, not "forge"',
    'builder.private_key: is missing; set it in [builder] or by CRYSTAL_FORGE__BUILDER__PRIVATE_KEY',
    'builder.job_public_key: is missing; set it in [builder] or by CRYSTAL_FORGE__BUILDER__JOB_PUBLIC_KEY',
    'build.max_jobs: expected a whole number from 1 to 256, not 0',
    'build.timeout: expected seconds or a text such as "10m" or "1h 30m", not "soon"',
  ])
})

describe('a value that is refused', () => {
  test.each([
    ['build', 'timeout', '"30d"', /0 to 604800 seconds/],
    ['build', 'timeout', '-1', /seconds or a text/],
    ['build', 'max_jobs', 'true', /whole number/],
    ['build', 'max_jobs', '""', /whole number/],
    ['build', 'sandbox', '"yes"', /true or false/],
    ['build', 'systemd_memory_max', '"4 GB"', /such as "4G"/],
    ['build', 'systemd_properties', '["ExecStartPre=/bin/sh"]', /resource limits/],
    ['build', 'systemd_properties', '["Environment=A=B"]', /resource limits/],
    ['builder', 'min_free_bytes', '"plenty"', /such as "2G"/],
    ['builder', 'systems', '[]', /1 to 16 systems/],
    ['builder', 'state_directory', '"state"', /absolute path/],
    ['auth', 'ssh_key_path', '"/k; rm -rf /"', /absolute path of letters/],
    ['vulnix', 'mirror', '"https://feeds.example.com"', /ends in a slash/],
    ['cache', 'cache_type', '"Bittorrent"', /"Nix", "S3", "Attic" or "Http"/],
    ['cache', 'compression', '"zip"', /"zstd"/],
  ])('%s.%s = %s', (section, key, value, message) => {
    const text =
      section === 'builder' ? `${NEEDED}${key} = ${value}` : `${NEEDED}[${section}]\n${key} = ${value}`
    const errors = refused(text)
    expect(errors).toHaveLength(1)
    expect(errors[0]).toMatch(new RegExp(`^${section}\\.${key}: `))
    expect(errors[0]).toMatch(message)
  })

  test('plain HTTP to another machine', () => {
    expect(refused(NEEDED.replace('https', 'http'))).toEqual([
      'builder.server_url: http://forge.example.com is plain HTTP; use https or set builder.allow_plain_http = true',
    ])
    expect(refused(NEEDED.replace('https://forge.example.com', 'http://127.0.0.1:8080'))).toEqual([])
    expect(refused(`${NEEDED.replace('https', 'http')}allow_plain_http = true`)).toEqual([])
  })

  test('a file that is no TOML names the line', () => {
    expect(refused('[builder')[0]).toMatch(/^configuration file: /)
  })
})

describe('where closures go beside the cache of the control plane', () => {
  test.each([
    ['nothing is said', '', null],
    [
      'a binary cache',
      'push_to = "https://cache.example.com"',
      { kind: 'nix', url: 'https://cache.example.com/' },
    ],
    [
      'parameters become those of Nix',
      'cache_type = "Http"\npush_to = "https://cache.example.com/x"\ncompression = "zstd"\nsigning_key = "/k"',
      { url: 'https://cache.example.com/x?compression=zstd&secret-key=%2Fk', signingKey: '/k' },
    ],
    ['another machine', 'push_to = "ssh://nix@cache.example.com"', { url: 'ssh://nix@cache.example.com' }],
    [
      'only some',
      'push_to = "file:///srv/cache"\npush_filter = ["nixos-system-web"]',
      { filter: ['nixos-system-web'] },
    ],
    [
      'Attic, in any case of letters',
      'cache_type = "attic"\npush_to = "https://attic.example.com"\nattic_cache_name = "main"\nattic_token_file = "/t"',
      { kind: 'attic', endpoint: 'https://attic.example.com', cacheName: 'main', tokenFile: '/t', jobs: 5 },
    ],
  ])('%s', (_, text, expected) => {
    const { destination } = accepted(`[cache]\n${text}`).config
    if (expected === null) expect(destination).toBeNull()
    else expect(destination).toMatchObject(expected)
  })

  test.each([
    ['push_to = "cache.example.com"', /^cache\.push_to: expected https/],
    ['push_to = "https://user:secret@cache.example.com"', /credentials do not belong/],
    ['push_to = "ssh://nix@cache"\nsigning_key = "/k"', /^cache\.signing_key: /],
    ['cache_type = "Attic"\npush_to = "https://attic.example.com"', /^cache\.attic_cache_name: is missing/],
    ['attic_token = "secret"', /^cache\.attic_token: a token does not belong here/],
  ])('%s is refused', (text, message) => {
    const errors = refused(`${NEEDED}[cache]\n${text}`)
    expect(errors[0]).toMatch(message)
    expect(errors.join()).not.toContain('"secret"')
  })
})

test('what has no effect any more says what to do instead, and a key that nobody knows is told', () => {
  const { warnings } = accepted(`servre = "x"
[build]
poll_interval = "5m"
[auth]
ssh_disable_strict_host_checking = true
[cache]
cache_type = "S3"
push_to = "s3://bucket"
poll_interval = 30
force_repush = false
[server]
anything = 1
`)
  expect(warnings).toEqual([
    'build.poll_interval has no effect any more; builders are woken by a queue',
    'auth.ssh_disable_strict_host_checking has no effect any more; host keys are always checked; use auth.ssh_known_hosts_path',
    'cache.poll_interval has no effect any more; a closure is pushed as soon as it is built',
    'builder.servre is not known and has no effect; --help lists what there is',
    expect.stringMatching(/^cache\.push_to = "s3:\/\/bucket" has no effect/),
  ])
})

test('parallel_uploads of the original counts unless ours is set', () => {
  expect(accepted('[cache]\nparallel_uploads = 3').config.parallel_uploads).toBe(3)
  expect(accepted('parallel_uploads = 5\n[cache]\nparallel_uploads = 3').config.parallel_uploads).toBe(5)
})

test.each([
  [90, 90],
  ['90', 90],
  ['90s', 90],
  ['10m', 600],
  ['1h 30m', 5400],
  ['2 hours', 7200],
  ['500ms', 0.5],
  ['1d', 86_400],
  ['', null],
  ['m', null],
  ['10 parsecs', null],
  ['1h-30m', null],
  [-1, null],
  [true, null],
  [Number.NaN, null],
])('the duration %j is %j seconds', (text, seconds) => {
  expect(parseDuration(text)).toBe(seconds)
})
