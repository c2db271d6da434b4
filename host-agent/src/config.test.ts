import { describe, expect, it } from 'vitest'
import packageJson from '../package.json' with { type: 'json' }
import { AGENT_VERSION } from './agent-version.ts'
import { type Config, readConfig } from './config.ts'
import { parseDurationMs } from './duration.ts'

function file(text: string) {
  return { path: '/etc/cf.toml', text }
}

function accepted(text: string, env: Record<string, string> = {}): Config {
  const result = readConfig(env, file(text))
  if (!result.ok) throw new Error(JSON.stringify(result.faults))
  return result.config
}

function faults(text: string, env: Record<string, string> = {}): string[] {
  const result = readConfig(env, file(text))
  return result.ok ? [] : result.faults.map((fault) => `${fault.path} ${fault.message}`)
}

const KEY = 'private_key = "/var/lib/cf/host.key"'

describe('the configuration', () => {
  it("reads the original's file, and ignores the sections of its other programs", () => {
    const config = accepted(`
      [server]
      host = "0.0.0.0"
      port = 3000
      [client]
      server_host = "cf.example.com"
      server_port = 443
      ${KEY}
    `)
    expect(config).toEqual({
      endpoint: {
        protocol: 'https:',
        hostname: 'cf.example.com',
        port: 443,
        basePath: '',
        authority: 'cf.example.com',
      },
      privateKeyFile: '/var/lib/cf/host.key',
      stateDirectory: '/var/lib/crystal-forge-agent',
      root: '/',
      caFile: null,
      controlFactsIntervalMs: 86_400_000,
      controlFactsSocket: null,
      heartbeatIntervalMs: 600_000,
      spool: { bytesMax: 16_777_216, ageMaxMs: 2_592_000_000 },
    })
  })

  it('needs no file when the environment has everything, and parses its numbers and booleans', () => {
    const result = readConfig(
      {
        CRYSTAL_FORGE__CLIENT__SERVER_HOST: '10.0.0.5',
        CRYSTAL_FORGE__CLIENT__SERVER_PORT: '3000',
        CRYSTAL_FORGE__CLIENT__PRIVATE_KEY: '/k',
        CRYSTAL_FORGE__CLIENT__ALLOW_PLAIN_HTTP: 'true',
        CRYSTAL_FORGE__DATABASE__HOST: 'ignored',
      },
      null,
    )
    expect(result).toMatchObject({
      ok: true,
      config: {
        endpoint: { protocol: 'http:', hostname: '10.0.0.5', port: 3000, authority: '10.0.0.5:3000' },
      },
    })
  })

  it('lets the environment win over the file, and takes JSON', () => {
    const json = JSON.stringify({
      client: { server_url: 'https://a.example', private_key: '/k', heartbeat_interval: 60 },
    })
    const config = accepted(json, { CRYSTAL_FORGE__CLIENT__SERVER_URL: 'https://b.example/base/' })
    expect(config.endpoint).toMatchObject({
      hostname: 'b.example',
      basePath: '/base',
      authority: 'b.example',
    })
    expect(config.heartbeatIntervalMs).toBe(60_000)
  })

  it.each([
    ['server_host = "127.0.0.1"\nserver_port = 3000', 'http:', 3000],
    ['server_host = "::1"\nserver_port = 3000', 'http:', 3000],
    ['server_host = "localhost"\nserver_port = 80', 'http:', 80],
    ['server_host = "cf.example.com"', 'https:', 443],
    ['server_url = "https://cf.example.com:8443"', 'https:', 8443],
    ['server_url = "http://cf.example.com"\nallow_plain_http = true', 'http:', 80],
    ['server_host = "cf.example.com"\nserver_port = 3000\nallow_plain_http = true', 'http:', 3000],
  ])('finds the control plane of %j', (server, protocol, port) => {
    expect(accepted(`[client]\n${KEY}\n${server}`).endpoint).toMatchObject({ protocol, port })
  })

  it.each([
    [
      'server_host = "cf.example.com"\nserver_port = 3000',
      /^client.server_port means unencrypted http.*"https:\/\/cf.example.com:3000"/,
    ],
    [
      'server_host = "cf.example.com"\nserver_port = 80',
      /unencrypted http to cf.example.com; set client.server_url/,
    ],
    ['server_url = "http://127.0.0.1.example.com"', /^client.server_url means unencrypted/],
    ['server_host = "10.0.0.5"\nserver_port = 3000\nallow_plain_http = false', /unencrypted/],
  ])('refuses to send %j in the clear', (server, message) => {
    expect(faults(`[client]\n${KEY}\n${server}`)).toEqual([expect.stringMatching(message)])
  })

  it.each([
    ['[client', /^\/etc\/cf.toml .*/],
    ['client = 7', /^client is 7/],
    ['[client]\nserver_url = "ftp://x"', /client.server_url is "ftp:\/\/x"; expected an https URL/],
    ['[client]\nserver_url = "https://u:p@x"', /client.server_url holds a user name or password/],
    ['[client]\nserver_url = "https://x/a?b"', /without query/],
    ['[client]\nserver_url = "https://x/%20"', /plain path/],
    ['[client]\nserver_host = "a/b"', /client.server_host is "a\/b"; expected a host name/],
    ['[client]\nserver_port = 70000', /client.server_port is 70000; expected a whole number from 1 to 65535/],
    ['[client]\nserver_url = "https://x"\nauthority = "a b"', /client.authority is "a b"; expected HOST/],
    ['[client]\nprivate_key = "relative"', /client.private_key is "relative"; expected an absolute path/],
    ['[client]\nheartbeat_interval = "often"', /client.heartbeat_interval is "often"; expected a duration/],
    ['[client]\nheartbeat_interval = 1', /client.heartbeat_interval is 1/],
    [
      '[client]\ncontrol_facts_interval = "2d"',
      /client.control_facts_interval is "2d"; expected a duration from 3600 s to 86400 s/,
    ],
    ['[client]\ncontrol_facts_interval = "5m"', /client.control_facts_interval is "5m"/],
    ['[client]\nallow_plain_http = "yes"', /client.allow_plain_http is "yes"; expected true or false/],
    ['[client]\nservr_host = "x"', /client.servr_host is not known; the keys of this section are/],
  ])('says what is wrong with %j', (text, message) => {
    expect(faults(text).join('\n')).toMatch(message)
  })

  it('lets nobody switch the facts of controls off by a long interval, only by name', () => {
    const withServer = `[client]\n${KEY}\nserver_url = "https://cf.example.com"\n`
    expect(accepted(`${withServer}control_facts_interval = "6h"`).controlFactsIntervalMs).toBe(21_600_000)
    expect(accepted(`${withServer}control_facts = false`).controlFactsIntervalMs).toBeNull()
    expect(
      accepted(withServer, { CRYSTAL_FORGE__CLIENT__CONTROL_FACTS: 'false' }).controlFactsIntervalMs,
    ).toBe(null)
  })

  it('reports every fault at once, each with its path', () => {
    const found = faults('[client]\nserver_port = "x"\nroot = "."\ncolour = 1', {
      CRYSTAL_FORGE__CLIENT__HEARTBEAT_INTERVAL: 'soon',
    })
    expect(found.map((fault) => fault.split(' ')[0])).toEqual([
      'client.server_port',
      'client.root',
      'CRYSTAL_FORGE__CLIENT__HEARTBEAT_INTERVAL',
      'client.colour',
      'client.private_key',
    ])
    expect(faults('')).toHaveLength(2)
  })
})

describe('a duration', () => {
  it.each([
    [600, 600_000],
    ['600', 600_000],
    ['10m', 600_000],
    ['1h 30m', 5_400_000],
    ['1h30m', 5_400_000],
    ['500ms', 500],
    ['2 days', 172_800_000],
    [0, 0],
  ])('%j is %i ms', (value, ms) => {
    expect(parseDurationMs(value)).toBe(ms)
  })

  it.each([['10x'], [''], ['m'], [-1], [1.5], [null], ['1m;'], ['1e3']])('%j is none', (value) => {
    expect(parseDurationMs(value)).toBeNull()
  })
})

it('the agent knows its version', () => {
  expect(AGENT_VERSION).toBe(packageJson.version)
})
