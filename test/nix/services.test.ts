import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, it } from 'vitest'
import * as z from 'zod'
import { readFleetFile } from '../../cli/src/fleet-file.ts'
import { evaluateNix, harness, nix } from './evaluate.ts'

const SLOW = harness === undefined ? 60_000 : 600_000

const setting = z.union([z.string(), z.boolean(), z.number()])
const serviceConfig = z.record(z.string(), z.union([setting, z.array(setting)]))
const unit = z.object({
  wantedBy: z.array(z.string()),
  after: z.array(z.string()),
  requires: z.array(z.string()),
  restartIfChanged: z.boolean(),
  serviceConfig,
})
type Unit = z.infer<typeof unit>
const texts = z.array(z.string())
const settings = z.record(z.string(), z.record(z.string(), z.json()))
const seen = z.object({
  settings: z.record(z.string(), settings),
  fleet: z.string().nullable(),
  quickStart: z.object({
    units: z.record(z.string(), unit),
    failed: texts,
    warnings: texts,
    slice: z.boolean(),
    users: texts,
    authentication: z.string(),
    configPath: z.string(),
    allowedUsers: texts,
  }),
  agentOnly: z.object({
    units: texts,
    users: texts,
    tmpfiles: texts,
    allowedUsers: texts,
    polkit: z.string(),
  }),
  controls: z.object({ unit: serviceConfig, socket: serviceConfig, off: texts }),
  disabled: texts,
  nothing: texts,
  clientWithoutKey: texts,
  builderAlone: texts,
  builderElsewhere: texts,
  unknownFlake: texts,
  declaredTwice: texts,
  twoPasswords: texts,
  dead: texts,
  secretsInStore: texts,
  defaultsAreSilent: texts,
  wrongPolicy: z.boolean(),
  firewall: z.array(z.number()),
  dashboards: z.object({ failed: texts, units: texts, datasource: z.record(z.string(), z.json()) }),
  together: texts,
})

describe.skipIf(nix.version === null)(`services.crystal-forge ${nix.note}`, () => {
  let made: z.infer<typeof seen>
  beforeAll(async () => {
    made = seen.parse(await evaluateNix('services.nix', { generation: '24.11' }))
  }, SLOW)

  it('takes the quick start of the original as it is', () => {
    const { units, failed, warnings, slice, configPath, users } = made.quickStart
    expect(failed).toEqual([])
    expect(Object.keys(units).sort((a, b) => a.localeCompare(b))).toEqual([
      'crystal-forge-agent',
      'crystal-forge-agent-controls@',
      'crystal-forge-apply',
      'crystal-forge-builder',
      'crystal-forge-builder-key',
      'crystal-forge-database',
      'crystal-forge-server',
    ])
    expect(warnings).toEqual([expect.stringContaining('plain HTTP')])
    expect(slice).toBe(true)
    expect(configPath).toBe('/var/lib/crystal-forge/config.toml')
    expect(users).toEqual(['crystal-forge', 'crystal-forge-controls'])
    expect(made.together).toHaveLength(7)
  })

  it('gives secrets as credentials, and keeps state from other eyes', () => {
    const { units, authentication } = made.quickStart
    const config = (name: string): Unit['serviceConfig'] =>
      units[`crystal-forge-${name}`]?.serviceConfig ?? {}
    expect(config('server')['LoadCredential']).toEqual(['database-password:/run/secrets/db_password'])
    expect(config('database')['LoadCredential']).toEqual(['password:/run/secrets/db_password'])
    expect(config('agent')['LoadCredential']).toBe('host.key:/var/lib/crystal-forge/host.key')
    expect(config('builder')['LoadCredential']).toEqual([
      'builder.key:/var/lib/crystal-forge-builder/builder.key',
      'ssh-key:/var/lib/crystal-forge/.ssh/id_ed25519',
    ])
    for (const name of ['server', 'agent', 'builder'])
      expect(config(name)).toMatchObject({ StateDirectoryMode: '0700', UMask: '0077' })
    expect(authentication).not.toContain('trust')
  })

  it('tells the agent whether and how often it looks at what controls are judged by', () => {
    const told = (which: string) => made.settings[which]?.['crystal-forge-agent-config']?.['client']
    expect(told('quickStart')).toMatchObject({ control_facts: true, control_facts_interval: '1d' })
    expect(told('everything')).toMatchObject({ control_facts: false, control_facts_interval: '6h' })
  })

  it('lets look who reaches no network, and lets nobody but root ask', () => {
    const { unit, socket, off } = made.controls
    expect(unit['RestrictAddressFamilies']).toEqual(['AF_UNIX', 'AF_NETLINK'])
    expect(unit['CapabilityBoundingSet']).toEqual(unit['AmbientCapabilities'])
    expect(Object.keys(unit)).not.toContain('LoadCredential')
    expect(socket).toMatchObject({ SocketMode: '0600', Accept: true })
    // The agent itself keeps none of these rights.
    const agent = made.quickStart.units['crystal-forge-agent']
    expect(agent?.serviceConfig).toMatchObject({
      CapabilityBoundingSet: '',
      ProtectHome: true,
      PrivateTmp: true,
    })
    expect(made.settings['quickStart']?.['crystal-forge-agent-config']?.['client']).toMatchObject({
      control_facts_socket: socket['ListenStream'],
    })
    expect(off).toEqual(['crystal-forge-agent'])
  })

  it('does not restart the agent under the switch that it watches', () => {
    expect(made.quickStart.units['crystal-forge-agent']?.restartIfChanged).toBe(false)
    expect(made.quickStart.units['crystal-forge-server']?.restartIfChanged).toBe(true)
  })

  it('leaves a host with only an agent as it is otherwise', () => {
    expect(made.agentOnly.units).toEqual(['crystal-forge-agent', 'crystal-forge-agent-controls@'])
    expect(made.agentOnly.users).toEqual(['crystal-forge-controls'])
    expect(made.agentOnly.tmpfiles.join()).not.toContain('crystal-forge:')
    expect(made.agentOnly.allowedUsers).toEqual(['*'])
    expect(made.quickStart.allowedUsers).toEqual(['*'])
    expect(made.agentOnly.polkit).not.toContain('crystal-forge')
    expect(made.disabled).toEqual([])
  })

  it.each([
    ['nothing', 'enable services.crystal-forge.server, .build or .client'],
    ['clientWithoutKey', 'client.private_key is missing'],
    ['unknownFlake', 'a follows the flake absent'],
    ['declaredTwice', 'declared twice: a'],
    ['twoPasswords', 'exclude each other'],
  ] as const)('refuses %s with the name of the option', (name, message) => {
    expect(made[name]).toEqual([expect.stringContaining(message)])
  })

  it('asks a builder without a server on its machine whom it works for', () => {
    expect(made.builderAlone).toEqual([
      expect.stringContaining('build.server_url'),
      expect.stringContaining('build.job_public_key'),
    ])
    expect(made.builderElsewhere).toEqual([])
    expect(made.wrongPolicy).toBe(true)
  })

  it('says of every option without effect what to do instead, once it is set', () => {
    expect(made.dead).toHaveLength(15)
    for (const warning of made.dead)
      expect(warning).toMatch(/services\.crystal-forge\.\S+ has no effect any more: .+\. Remove it\.$/)
    expect(made.defaultsAreSilent).toEqual([])
    expect(made.secretsInStore).toEqual([
      expect.stringContaining('database.passwordFile'),
      expect.stringContaining('cache.attic_token_file'),
    ])
  })

  it('opens the firewall and shows dashboards only when told', () => {
    expect(made.firewall).toContain(3445)
    expect(made.dashboards.failed).toEqual([])
    expect(made.dashboards.units).toContain('crystal-forge-grafana-db-init')
    expect(made.dashboards.datasource).toMatchObject({ uid: 'crystal-forge-postgres', user: 'grafana' })
  })

  it.each([
    ['server', 'server/src/main.ts', { CRYSTAL_FORGE__DATABASE__PASSWORD_FILE: 'key' }],
    [
      'builder',
      'builder-agent/src/main.ts',
      {
        CRYSTAL_FORGE__BUILDER__PRIVATE_KEY: 'key',
        CRYSTAL_FORGE__AUTH__SSH_KEY_PATH: 'key',
        CRYSTAL_FORGE__AUTH__SSH_KNOWN_HOSTS_PATH: 'key',
        CRYSTAL_FORGE__AUTH__NETRC_PATH: 'key',
        CRYSTAL_FORGE__VULNIX__WHITELIST_PATH: 'key',
      },
    ],
    ['agent', 'host-agent/src/main.ts', {}],
  ])(
    'writes a configuration that the %s itself accepts',
    { timeout: 120_000 },
    async (name, program, standIns) => {
      const directory = await mkdtemp(path.join(tmpdir(), 'config-'))
      try {
        const key = path.join(directory, 'key')
        await writeFile(key, `${'A'.repeat(43)}=\n`, { mode: 0o600 })
        for (const [which, files] of Object.entries(made.settings)) {
          const file = path.join(directory, `${which}.json`)
          await writeFile(file, JSON.stringify(files[`crystal-forge-${name}-config`]))
          const env = { PATH: '/usr/bin:/bin', CRYSTAL_FORGE_CONFIG: file, ...mapValues(standIns, () => key) }
          const answer = await checkConfig(program, env)
          expect([which, answer.code, answer.stderr.trim()]).toEqual([which, 0, ''])
        }
      } finally {
        await rm(directory, { recursive: true })
      }
    },
  )

  it('declares flakes, environments and systems in words that cf apply reads', async ({ skip }) => {
    if (made.fleet === null) return skip('the text of a file is known without nixpkgs only')
    const directory = await mkdtemp(path.join(tmpdir(), 'fleet-'))
    try {
      const file = path.join(directory, 'fleet.json')
      await writeFile(file, made.fleet)
      const { document, warnings } = await readFleetFile(file)
      expect(warnings).toEqual([])
      expect(document).toMatchObject({
        flakes: [{ name: 'infrastructure', poll_interval_s: 600, initial_commit_depth: 10 }],
        environments: [{ name: 'production' }],
        systems: [{ hostname: 'server1', environment: 'production', deployment_policy: 'manual' }],
      })
    } finally {
      await rm(directory, { recursive: true })
    }
  })

  it('exposes little of the machine to server and agent', async ({ skip }) => {
    const directory = await mkdtemp(path.join(tmpdir(), 'units-'))
    try {
      for (const name of ['crystal-forge-server', 'crystal-forge-agent', 'crystal-forge-agent-controls@']) {
        const file = path.join(directory, `${name}.service`)
        await writeFile(file, render(made.quickStart.units[name]))
        const exposure = await exposureOf(file)
        if (exposure === undefined) return skip('systemd-analyze is not installed')
        expect([name, exposure <= 2]).toEqual([name, true])
      }
    } finally {
      await rm(directory, { recursive: true })
    }
  })
})

function mapValues<T>(record: Readonly<Record<string, unknown>>, value: () => T): Record<string, T> {
  return Object.fromEntries(Object.keys(record).map((key) => [key, value()]))
}

/** The program's own `--check-config`, as the derivation of the configuration runs it. */
function checkConfig(
  program: string,
  env: Readonly<Record<string, string>>,
): Promise<{ readonly code: number; readonly stderr: string }> {
  const root = fileURLToPath(new URL('../..', import.meta.url))
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [path.join(root, program), '--check-config'],
      { env },
      (error, stdout, stderr) => {
        resolve({
          code: error === null ? 0 : Number(error.code ?? 1),
          stderr: error === null ? '' : `${stdout}${stderr}`,
        })
      },
    )
  })
}

function render(one: Unit | undefined): string {
  const lines = Object.entries(one?.serviceConfig ?? {}).flatMap(([key, value]) =>
    [value].flat().map((part) => `${key}=${typeof part === 'boolean' ? (part ? 'yes' : 'no') : part}`),
  )
  return ['[Service]', ...lines, ''].join('\n')
}

async function exposureOf(file: string): Promise<number | undefined> {
  try {
    const argv = ['security', '--offline=true', '--no-pager', file]
    const { stdout } = await promisify(execFile)('systemd-analyze', argv, {
      env: { PATH: '/usr/bin:/bin:/run/current-system/sw/bin' },
    })
    return Number(/Overall exposure level[^:]*: ([0-9.]+)/.exec(stdout)?.[1])
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}
