import { expect, test } from 'vitest'
import { readConfig, type ServerConfig } from './config.ts'

const HOME = { HOME: '/home/one' }

test('nothing at all is a configuration: loopback, embedded database, a directory below the home', () => {
  const { config, warnings } = accepted({})
  expect(config).toMatchObject({
    host: '127.0.0.1',
    port: 0,
    tenant: 'default',
    dataDir: '/home/one/.local/state/crystal-forge',
    database: { kind: 'embedded' },
    ephemeral: false,
  })
  expect(config.awsEndpoint).toBeUndefined()
  expect(warnings).toEqual([])
})

test('the four variables of the original are enough: user and port have defaults, a password is not made up', () => {
  const { config } = accepted({
    CRYSTAL_FORGE__SERVER__HOST: '127.0.0.1',
    CRYSTAL_FORGE__SERVER__PORT: '3445',
    CRYSTAL_FORGE__DATABASE__HOST: 'localhost',
    CRYSTAL_FORGE__DATABASE__NAME: 'crystal_forge',
  })
  expect(config).toMatchObject({ host: '127.0.0.1', port: 3445 })
  expect(external(config)).toEqual({
    kind: 'external',
    passwordFile: undefined,
    target: {
      host: 'localhost',
      port: 5432,
      user: 'crystal_forge',
      database: 'crystal_forge',
      password: undefined,
      tls: undefined,
      caFile: undefined,
    },
  })
})

test('the embedded database may be run by a Postgres that lies elsewhere', () => {
  const named = 'CRYSTAL_FORGE__SERVER__POSTGRES_DIRECTORY'
  expect(accepted({ [named]: '/nix/store/x-postgresql-18/bin' }).config.database).toEqual({
    kind: 'embedded',
    binaries: '/nix/store/x-postgresql-18/bin',
  })
  expect(readConfig({ [named]: 'bin' }, undefined, {})).toEqual({
    ok: false,
    errors: ['server.postgres_directory is "bin": expected an absolute path'],
  })
})

const FILES: [string, string][] = [
  ['upper case', '[SERVER]\nHOST = "::1"\nPORT = 3000\n[DATABASE]\nHOST = "/run/postgresql"\nNAME = "cf"'],
  ['lower case', '[server]\nhost = "::1"\nport = 3000\n[database]\nhost = "/run/postgresql"\nname = "cf"'],
  ['mixed case', '[Server]\nHost = "::1"\nport = 3000\n[DATABASE]\nhost = "/run/postgresql"\nNAME = "cf"'],
  ['JSON', '{"server":{"host":"::1","port":"3000"},"DATABASE":{"HOST":"/run/postgresql","NAME":"cf"}}'],
]

test.each(FILES)('a file in %s says the same', (_, text) => {
  const { config, warnings } = accepted({}, text)
  expect(config).toMatchObject({ host: '::1', port: 3000 })
  expect(external(config).target).toMatchObject({ host: '/run/postgresql', database: 'cf', tls: undefined })
  expect(warnings).toEqual([])
})

test('the environment goes over the file, in either case, and flags over both', () => {
  const text = '[server]\nport = 1\nhost = "::1"\ntenant = "file"'
  const environment = { CRYSTAL_FORGE__SERVER__PORT: '2', crystal_forge__server__tenant: 'environment' }
  expect(accepted(environment, text).config).toMatchObject({ port: 2, host: '::1', tenant: 'environment' })
  const read = readConfig({ ...HOME, ...environment }, text, {
    port: 3,
    host: 'localhost',
    dataDir: '/srv/cf',
  })
  expect(read).toMatchObject({ ok: true, config: { port: 3, host: 'localhost', dataDir: '/srv/cf' } })
})

test('keys and sections that the server does not use are accepted and named once each', () => {
  const { warnings } = accepted(
    { CRYSTAL_FORGE__SERVER__EVAL_WORKERS: '4' },
    `[SERVER]
     EVAL_WORKERS = 2
     EVAL_MAX_MEMORY_MB = 4096
     EVAL_CHECK_CACHE = true
     [FLAKES]
     watched = []
     [[systems]]
     hostname = "web-1"
     [[systems]]
     hostname = "web-2"
     [CLIENT]
     SERVER_HOST = "x"
     [typo]
     a = 1`,
  )
  expect(warnings.map((warning) => warning.split(':')[0])).toEqual([
    'server.eval_workers has no effect',
    'server.eval_max_memory_mb has no effect',
    'server.eval_check_cache has no effect',
    'section flakes',
    'section systems',
    'section client',
    'section typo',
  ])
  expect(warnings.join('\n')).toContain('cf apply')
})

test('an address that others can reach is warned of', () => {
  expect(accepted({ CRYSTAL_FORGE__SERVER__HOST: '0.0.0.0' }).warnings).toEqual([
    expect.stringContaining('put a TLS proxy before it'),
  ])
})

test('every error is reported, each with path and value', () => {
  const errors = refused(
    {},
    '[server]\nport = 70000\nlease_s = "soon"\nprot = 1\ntenant = "A"\n[database]\nport = 0.5\npassword = 7',
  )
  expect(errors).toEqual([
    'server.port is 70000: expected a whole number from 0 to 65535',
    'server.tenant is "A": expected lower-case letters, digits and "-"',
    'server.lease_s is "soon": expected a whole number from 5 to 3600',
    'server.prot: there is no such setting',
    expect.stringMatching(/^database\.host is missing/),
    'database.port is 0.5: expected a whole number from 1 to 65535',
    expect.stringMatching(/^database\.password: (?!.*7)/),
  ])
})

const WRONG: [string, Record<string, string>, string | undefined, RegExp][] = [
  ['a file that is no TOML', {}, '[server\n', /^configuration file: /],
  ['a file that is no JSON', {}, '{"server":', /^configuration file: /],
  ['a section that is a number', {}, 'server = 3', /^server/],
  ['an empty port', { CRYSTAL_FORGE__SERVER__PORT: '' }, undefined, /^server\.port is ""/],
  ['a port with a sign', { CRYSTAL_FORGE__SERVER__PORT: '-1' }, undefined, /^server\.port is "-1"/],
  ['a database URL that is none', { DATABASE_URL: 'mysql://h/d' }, undefined, /^DATABASE_URL: /],
  [
    'a far database without authorities',
    { DATABASE_URL: 'postgres://u:secret@db.example.com/cf' },
    undefined,
    /^DATABASE_URL: db\.example\.com .*sslrootcert/,
  ],
  [
    'a far database host without authorities',
    { CRYSTAL_FORGE__DATABASE__HOST: 'db.example.com' },
    undefined,
    /^database\.ca_file is missing/,
  ],
  [
    'an endpoint that is no address',
    { AWS_ENDPOINT_URL: 'localhost:4566' },
    undefined,
    /^AWS_ENDPOINT_URL is /,
  ],
  ['a switch that is neither', { CF_EPHEMERAL: 'yes' }, undefined, /^CF_EPHEMERAL is "yes"/],
]

test.each(WRONG)('%s is refused by name', (_, environment, text, message) => {
  const errors = refused(environment, text)
  expect(errors).toHaveLength(1)
  expect(errors[0]).toMatch(message)
  expect(errors[0]).not.toContain('secret')
})

function accepted(
  environment: Record<string, string>,
  text?: string,
): { config: ServerConfig; warnings: readonly string[] } {
  const read = readConfig({ ...HOME, ...environment }, text, {})
  if (!read.ok) throw new Error(read.errors.join('\n'))
  return read
}

function refused(environment: Record<string, string>, text?: string): readonly string[] {
  const read = readConfig({ ...HOME, ...environment }, text, {})
  if (read.ok) throw new Error('accepted')
  return read.errors
}

function external(config: ServerConfig): Extract<ServerConfig['database'], { kind: 'external' }> {
  if (config.database.kind !== 'external') throw new Error('embedded')
  return config.database
}
