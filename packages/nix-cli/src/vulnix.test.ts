import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type StorePath, storePath } from '@crystal-forge/protocol'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fleetRepository } from '../../../test/fixtures/fleet/repository.ts'
import { build } from './build.ts'
import { copyFrom, copyTo } from './copy.ts'
import { evaluateConfiguration } from './evaluate.ts'
import type { NixCall } from './nix-call.ts'
import { buildEnvironment, evaluationEnvironment } from './nix-environment.ts'
import { testNix } from './test-nix.ts'
import { findScanner, parseVulnix, type Scan, scanClosure } from './vulnix.ts'

const recorded = join(import.meta.dirname, '../../../test/fixtures/recorded/vulnix-1.10.1')
const nix = await testNix()
const directory = realpathSync(mkdtempSync(join(tmpdir(), 'vulnix-')))
let call: NixCall
let outPath: StorePath

/** A program in place of vulnix: it notes its arguments and answers with what the real one printed. */
function scannerThat(script: string): Scan {
  const bin = join(directory, 'bin')
  mkdirSync(bin, { recursive: true })
  const program = join(bin, 'vulnix')
  writeFileSync(
    program,
    `#!/bin/sh\n[ "$1" = --version ] && { echo "vulnix 1.10.1"; exit 0; }\nprintf '%s\\n' "$@" > ${directory}/arguments\n${script}\n`,
  )
  chmodSync(program, 0o755)
  const env = { ...call.env, PATH: `${bin}:${call.env['PATH']}` }
  return { call: { ...call, env }, outPath, cacheDirectory: directory, whitelists: [], extraArguments: [] }
}

beforeAll(async () => {
  if (nix.kind === 'none') return
  const fleet = fleetRepository(join(directory, 'fleet'))
  const evaluation = await evaluateConfiguration(
    {
      env: evaluationEnvironment(nix.setup(directory), { allowedUris: [], importFromDerivation: false }),
      store: nix.store,
      policy: { hosts: [], localPaths: [directory] },
      timeoutMs: 30_000,
    },
    { kind: 'local', path: fleet.path, rev: fleet.rev },
    { name: 'web-1', extras: {} },
  )
  if (evaluation.kind === 'error') throw new Error(evaluation.message)
  outPath = evaluation.outPath
  const env = buildEnvironment(nix.setup(directory), {
    sandbox: { kind: 'off', reason: 'tests run without' },
    substituters: [],
    trustedPublicKeys: [],
    maxJobs: 2,
    cores: 1,
    buildUsersGroup: '',
  })
  call = { env, store: nix.store, timeoutMs: 30_000 }
  const isolation = { kind: 'none', reason: 'a test' } as const
  await build({ drvPath: evaluation.drvPath, call, maxSilentSec: 0, timeoutSec: 0, isolation, gcRoot: null })
})
afterAll(() => {
  // Directories of a store cannot be written to, not even to remove what is in them.
  execFileSync('chmod', ['-R', 'u+w', directory])
  rmSync(directory, { recursive: true, force: true })
})

describe.skipIf(nix.kind === 'none')(`a scan ${nix.note}`, () => {
  it('names the recipes of the runtime closure and believes the JSON, not the exit code', async () => {
    const scan = scannerThat(`cat ${recorded}/findings.json; exit 2`)
    const whitelist = join(directory, 'whitelist.toml')
    writeFileSync(whitelist, '')
    const outcome = await scanClosure({
      ...scan,
      whitelists: [whitelist],
      mirror: 'https://feeds.example.com/',
    })
    expect(outcome).toMatchObject({
      kind: 'scanned',
      scanner: 'vulnix 1.10.1',
      unscanned: [],
      findings: { length: 4 },
    })
    const args = readFileSync(join(directory, 'arguments'), 'utf8').trim().split('\n')
    const recipes = args.slice(args.indexOf('--') + 1)
    expect(args).toEqual(
      expect.arrayContaining([
        '--json',
        '--no-requisites',
        '--mirror',
        'https://feeds.example.com/',
        '--whitelist',
        whitelist,
      ]),
    )
    expect(recipes).toHaveLength(37)
    expect(recipes.every((recipe) => recipe.endsWith('.drv') && !recipe.endsWith('.tar.drv'))).toBe(true)
  })

  it.each([
    ['crashes', 'echo "requests.exceptions.ConnectionError: refused" >&2; exit 1', /ConnectionError/],
    ['says nothing with success', 'exit 0', /ended with code 0/],
    ['prints something else', 'echo "{}"; exit 0', /not its JSON/],
    ['refuses an option', 'echo "Error: No such option" >&2; exit 2', /No such option/],
  ])('that %s is a failure, never clean', async (_, script, why) => {
    expect(await scanClosure(scannerThat(script))).toMatchObject({
      kind: 'failed',
      class: 'infra',
      message: expect.stringMatching(why),
    })
  })

  it('stops in time', async () => {
    const scan = scannerThat('exec sleep 987654')
    expect(await scanClosure({ ...scan, call: { ...scan.call, timeoutMs: 1_000 } })).toMatchObject({
      kind: 'failed',
      class: 'timeout',
    })
  })

  it('without a scanner, with a whitelist that is not there, or of a path that is not there says so', async () => {
    const scan = scannerThat('echo "[]"')
    expect(await findScanner({ PATH: '/nonexistent' })).toBeNull()
    const blind = { ...scan.call, env: { ...scan.call.env, PATH: '/nonexistent' } }
    expect(await scanClosure({ ...scan, call: blind })).toMatchObject({ kind: 'no-scanner' })
    expect(await scanClosure({ ...scan, whitelists: ['/no/such.toml'] })).toMatchObject({
      kind: 'failed',
      message: expect.stringContaining('/no/such.toml'),
    })
    const absent = storePath('/nix/store/00000000000000000000000000000000-absent')
    expect(await scanClosure({ ...scan, outPath: absent })).toMatchObject({
      kind: 'failed',
      message: expect.stringContaining('not in the store'),
    })
  })

  it('takes a path whose recipe is gone for unscanned, not for clean', async () => {
    const cache = `file://${directory}/cache`
    expect(await copyTo(call, { cache, path: outPath })).toEqual({ kind: 'copied' })
    const host: NixCall = { ...call, store: { kind: 'rooted', root: join(directory, 'host') } }
    expect(await copyFrom(host, { cache, path: outPath, trustedPublicKeys: [] })).toMatchObject({
      kind: 'failed',
      message: expect.stringContaining('signature'),
    })
    await expect(copyFrom(host, { cache: '-x', path: outPath, trustedPublicKeys: [] })).rejects.toThrow(
      'not a cache',
    )
    const [name, secret] = [`test-${process.pid}`, join(directory, 'secret')]
    execFileSync('nix-store', ['--generate-binary-cache-key', name, secret, join(directory, 'public')], {
      env: call.env,
      stdio: 'ignore',
    })
    const publicKey = readFileSync(join(directory, 'public'), 'utf8')
    execFileSync('nix', ['store', 'sign', '--store', cache, '--key-file', secret, '--recursive', outPath], {
      env: call.env,
      stdio: 'ignore',
    })
    expect(await copyFrom(host, { cache, path: outPath, trustedPublicKeys: [publicKey] })).toEqual({
      kind: 'copied',
    })
    const scan = scannerThat('echo "[]"')
    const outcome = await scanClosure({ ...scan, call: { ...host, env: scan.call.env } })
    expect(outcome).toMatchObject({ kind: 'scanned', findings: [], unscanned: { length: 37 } })
  })
})

describe('what vulnix prints', () => {
  it('has a score and a description only where it states one, whatever the finding is called', () => {
    const names = ['constructor', '__proto__', 'CVE-2014-0160']
    const printed = `[{"pname":"a","version":"1","affected_by":${JSON.stringify(names)},"whitelisted":[],
      "cvssv3_basescore":{"CVE-2014-0160":7.5},"description":{"CVE-2014-0160":"x"}}]`
    expect(parseVulnix(printed).map(({ cve, cvss3, description }) => [cve, cvss3, description])).toEqual([
      ['CVE-2014-0160', 7.5, 'x'],
      ['__proto__', null, null],
      ['constructor', null, null],
    ])
  })

  it('becomes one finding for each package and CVE', () => {
    expect(parseVulnix(readFileSync(join(recorded, 'findings.json'), 'utf8'))).toEqual([
      expect.objectContaining({
        package: 'nginx',
        version: '1.26.1',
        cve: 'CVE-2024-7347',
        cvss3: 4.7,
        whitelisted: false,
      }),
      expect.objectContaining({
        package: 'openssh',
        version: '9.7p1',
        cve: 'CVE-2024-6387',
        cvss3: 8.1,
        description: 'regreSSHion',
      }),
      expect.objectContaining({ package: 'openssl', version: '3.0.13', cve: 'CVE-2024-2511', cvss3: null }),
      expect.objectContaining({
        package: 'openssl',
        cve: 'CVE-2024-5535',
        cvss3: 9.1,
        derivation: expect.stringMatching(/-openssl-3\.0\.13\.drv$/),
      }),
    ])
    expect(
      parseVulnix(readFileSync(join(recorded, 'whitelisted.json'), 'utf8')).map(({ cve, whitelisted }) => [
        cve,
        whitelisted,
      ]),
    ).toEqual([
      ['CVE-2024-7347', false],
      ['CVE-2024-6387', true],
      ['CVE-2024-2511', true],
      ['CVE-2024-5535', true],
    ])
    expect(parseVulnix(readFileSync(join(recorded, 'nothing.json'), 'utf8'))).toEqual([])
  })

  it.each(['', '{}', 'null', '[1]', '[{"pname":"x"}]'])('is refused: %s', (json) => {
    expect(() => parseVulnix(json)).toThrow(RangeError)
  })
})
