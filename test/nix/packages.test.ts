import { type ChildProcess, execFile, spawn } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { catalogueSha256 } from '@crystal-forge/control-plane'
import { buildEnvironment, runCommand, storeArguments } from '@crystal-forge/nix-cli'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import * as z from 'zod'
import { testNix } from '../../packages/nix-cli/src/test-nix.ts'
import { buildAll } from '../../scripts/build.ts'
import { harness } from './evaluate.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const directory = realpathSync(mkdtempSync(path.join(tmpdir(), 'packages-')))
const nix = await testNix()
// A daemon builds where the node_modules of this checkout cannot be seen.
const why =
  nix.kind === 'none'
    ? nix.note
    : nix.store.kind === 'local'
      ? ''
      : '(skipped: nix-daemon does not let a build read this checkout)'

const NAMES = [
  'cf',
  'crystal-forge-agent',
  'crystal-forge-builder',
  'crystal-forge-dashboards',
  'crystal-forge-server',
  'stig-catalogue',
] as const
type Name = (typeof NAMES)[number]

const PROGRAMS: ReadonlyMap<string, Name> = new Map([
  ['cli', 'cf'],
  ['host-agent', 'crystal-forge-agent'],
  ['builder-agent', 'crystal-forge-builder'],
  ['server', 'crystal-forge-server'],
])

/** Calls a Nix program on `packages.nix`. Builds run without a sandbox, on the programs of this machine; nothing is fetched. */
async function callNix(program: string, args: readonly string[], timeoutMs: number): Promise<string> {
  if (nix.kind === 'none') throw new Error(nix.note)
  const outcome = await runCommand({
    program,
    args: [...args, ...storeArguments(nix.store), path.join(root, 'test/nix/packages.nix'), ...given],
    env: buildEnvironment(nix.setup(directory), {
      sandbox: { kind: 'off', reason: 'the stand-ins for nixpkgs use the shell of the machine' },
      substituters: [],
      trustedPublicKeys: [],
      maxJobs: 2,
      cores: 1,
      buildUsersGroup: '',
    }),
    timeoutMs,
  })
  if (outcome.kind !== 'exited' || outcome.code !== 0) throw new Error(`${program}: ${outcome.stderr}`)
  return outcome.stdout
}

const nodeModules = realpathSync(path.join(root, 'node_modules'))
const given = [
  ...['--argstr', 'node', path.join(nodeModules, 'node/bin/node')],
  ...['--argstr', 'nodeModules', nodeModules],
]

describe.skipIf(why !== '')(`packages of the flake ${why}`, () => {
  let built: Record<Name, string>
  beforeAll(async () => {
    const attributes = NAMES.flatMap((name) => ['-A', name])
    const out = await callNix('nix-build', ['--no-out-link', ...attributes], 540_000)
    const paths = out.trim().split('\n')
    built = z
      .record(z.enum(NAMES), z.string().startsWith('/nix/store/'))
      .parse(Object.fromEntries(NAMES.map((name, at) => [name, paths[at]])))
  }, 600_000)
  afterAll(() => rmSync(directory, { recursive: true, force: true }))

  it.each([
    ['cf', ['--version'], /^0\.3\.0$/m],
    ['cf', ['--help'], /export/],
    ['crystal-forge-agent', ['--version'], /^0\.3\.0$/m],
    ['crystal-forge-agent', ['--help'], /rotate-key/],
    ['crystal-forge-builder', ['--version'], /^crystal-forge builder-agent 0\.3\.0$/m],
    ['crystal-forge-builder', ['--help'], /CRYSTAL_FORGE_CONFIG/],
    ['crystal-forge-server', ['--version'], /^crystal-forge server 0\.3\.0$/m],
    ['crystal-forge-server', ['--check-config'], /^the configuration is valid$/m],
  ] as const)('%s %s runs from the store, without any environment', async (name, args, said) => {
    const { stdout } = await promisify(execFile)(path.join(built[name], 'bin', name), args, { env: {} })
    expect(stdout).toMatch(said)
  })

  it('bundles byte for byte what npm run build bundles', async () => {
    const bundles = await buildAll(root, path.join(directory, 'dist'), [...PROGRAMS.keys()])
    for (const { name, file } of bundles) {
      const packaged = `${built[PROGRAMS.get(name) ?? 'cf']}/lib/crystal-forge/dist/${name}/main.mjs`
      expect([name, readFileSync(packaged).equals(readFileSync(file))]).toEqual([name, true])
    }
  })

  it('starts a server with a database of its own, which cf talks to, and leaves nothing running', async () => {
    const server = startServer(path.join(built['crystal-forge-server'], 'bin/crystal-forge-server'))
    try {
      const { url, adminTokenFile } = await server.started
      expect(await (await fetch(`${url}/status`)).json()).toMatchObject({ database: 'healthy' })
      const env = { CF_SERVER: url, CF_TOKEN_FILE: adminTokenFile }
      const cf = path.join(built.cf, 'bin/cf')
      const { stdout } = await promisify(execFile)(cf, ['systems', '--json'], { env })
      expect(JSON.parse(stdout)).toMatchObject({ items: [] })
    } finally {
      expect(await server.stop()).toBe(0)
    }
  }, 120_000)

  it('has every dashboard', () => {
    const share = path.join(built['crystal-forge-dashboards'], 'share/crystal-forge/dashboards')
    for (const file of readdirSync(path.join(root, 'dashboards')))
      expect([file, readFileSync(path.join(share, file), 'utf8')]).toEqual([
        file,
        readFileSync(path.join(root, 'dashboards', file), 'utf8'),
      ])
  })

  it('has the catalogue whole, under the digest that TypeScript computes', async () => {
    const share = path.join(built['stig-catalogue'], 'share/crystal-forge')
    const { stdout } = await promisify(execFile)('diff', [
      '--recursive',
      path.join(share, 'catalogue'),
      path.join(root, 'catalogue'),
    ])
    expect(stdout).toBe('')
    const files = readdirSync(path.join(root, 'catalogue'), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => path.join(entry.parentPath, entry.name))
    const digest = catalogueSha256(
      new Map(files.map((file) => [path.relative(path.join(root, 'catalogue'), file), readFileSync(file)])),
    )
    expect(readFileSync(path.join(share, 'catalogue.sha256'), 'utf8')).toBe(`${digest}\n`)
  })
})

describe.skipIf(why !== '')(`what a package is made of ${why}`, () => {
  const copy = path.join(directory, 'copy')
  let before: Record<Name, string>
  beforeAll(async () => {
    const { stdout } = await promisify(execFile)(
      'git',
      ['ls-files', '-z', '--cached', '--others', '--exclude-standard'],
      { cwd: root, maxBuffer: 64 << 20 },
    )
    for (const file of stdout.split('\0').filter((one) => one !== '' && existsSync(path.join(root, one))))
      cpSync(path.join(root, file), path.join(copy, file))
    before = await derivations(copy)
  }, 60_000)

  it.each<readonly [string, readonly Name[]]>([
    ['README.md', []],
    ['infra/app.ts', []],
    ['scripts/check.ts', []],
    ['nix/modules/crystal-forge/server.nix', []],
    ['packages/protocol/src/nix-base32.test.ts', []],
    ['cli/src/main.ts', ['cf']],
    ['host-agent/src/main.ts', ['crystal-forge-agent']],
    ['builder-agent/src/main.ts', ['crystal-forge-builder']],
    ['functions/routes.ts', ['crystal-forge-server']],
    ['dashboards/fleet.json', ['crystal-forge-dashboards']],
    ['migrations/0001_foundation.sql', ['crystal-forge-server']],
    ['catalogue/cci.json', ['crystal-forge-server', 'stig-catalogue']],
    ['packages/aws/src/index.ts', ['crystal-forge-builder', 'crystal-forge-server']],
    ['packages/protocol/src/index.ts', [...PROGRAMS.values()].sort()],
    ['scripts/build.ts', [...PROGRAMS.values()].sort()],
  ])('a change in %s is a change of %j', async (file, changed) => {
    const at = path.join(copy, file)
    const text = readFileSync(at, 'utf8')
    writeFileSync(at, `${text}\n`)
    const after = await derivations(copy)
    writeFileSync(at, text)
    expect(NAMES.filter((name) => after[name] !== before[name])).toEqual(changed)
  })

  it('a dependency that is another one changes who needs it, and development packages change nothing', async () => {
    const at = path.join(copy, 'package-lock.json')
    const text = readFileSync(at, 'utf8')
    const lock = z.looseObject({ packages: z.record(z.string(), z.looseObject({})) }).parse(JSON.parse(text))
    const change = async (name: string): Promise<Name[]> => {
      const packages = { ...lock.packages, [name]: { ...lock.packages[name], integrity: OTHER } }
      writeFileSync(at, JSON.stringify({ ...lock, packages }))
      const after = await derivations(copy)
      return NAMES.filter((one) => after[one] !== before[one])
    }
    expect(await change('node_modules/citty')).toEqual(['cf'])
    expect(await change('node_modules/pg')).toEqual(['crystal-forge-server'])
    expect(await change('node_modules/vitest')).toEqual([])
    expect(await change('node_modules/@esbuild/darwin-arm64')).toEqual([])
    expect(await change('node_modules/aws-cdk-lib')).toEqual([])
  })

  it.skipIf(harness === undefined)(
    `is the same with the lib of nixpkgs${harness === undefined ? ' — skipped: HARNESS_ROOT names none' : ''}`,
    async () => {
      expect(await derivations(copy, ['--argstr', 'harness', harness ?? ''])).toEqual(before)
    },
  )

  async function derivations(from: string, more: readonly string[] = []): Promise<Record<Name, string>> {
    const paths = NAMES.flatMap((name) => ['-A', `${name}.drvPath`])
    const out = await callNix(
      'nix-instantiate',
      ['--eval', '--strict', '--json', '--read-write-mode', ...paths, '--argstr', 'root', from, ...more],
      60_000,
    )
    const drvs = out.match(/\/nix\/store\/[^"]+\.drv/g) ?? []
    return z
      .record(z.enum(NAMES), z.string())
      .parse(Object.fromEntries(NAMES.map((name, at) => [name, drvs[at]])))
  }
})

const OTHER = `sha512-${Buffer.alloc(64, 7).toString('base64')}`

function startServer(program: string): {
  readonly started: Promise<{ readonly url: string; readonly adminTokenFile: string }>
  stop(): Promise<number | null>
} {
  const data = path.join(directory, 'server')
  const child: ChildProcess = spawn(program, ['--data-dir', data], {
    env: { CF_EPHEMERAL: '1', HOME: directory },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  child.stderr?.on('data', (chunk: Buffer) => {
    said += chunk.toString()
  })
  const exit = new Promise<number | null>((resolve) => child.once('exit', resolve))
  const started = vi.waitFor(
    () => {
      if (child.exitCode !== null) throw new Error(said)
      return z
        .object({ url: z.string(), adminTokenFile: z.string() })
        .parse(JSON.parse(readFileSync(path.join(data, 'server.json'), 'utf8')))
    },
    { timeout: 90_000, interval: 200 },
  )
  return {
    started,
    stop: async () => {
      child.kill('SIGTERM')
      return await exit
    },
  }
}
