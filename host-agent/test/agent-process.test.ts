import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { generateKeyPair, keyId, parseSeed, publicKeyOfSeed, renderSeed } from '@crystal-forge/protocol'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { collectInChild } from '../src/control-facts.ts'
import { ControlPlaneStandIn } from './control-plane-stand-in.ts'
import { type PreparedTree, preparedTree, SYSTEM_A, SYSTEM_B, temporaryDirectory } from './prepared-tree.ts'
import { MAIN, type Place, type RunningAgent, runCommand, startAgent, writeKeyFile } from './running-agent.ts'

let tree: PreparedTree
let directory: Awaited<ReturnType<typeof temporaryDirectory>>
let server: ControlPlaneStandIn
let place: Place
const running: RunningAgent[] = []

beforeEach(async () => {
  tree = await preparedTree()
  directory = await temporaryDirectory()
  server = new ControlPlaneStandIn()
  const serverUrl = await server.listen()
  place = {
    root: tree.root,
    state: path.join(directory.path, 'state'),
    keyFile: path.join(directory.path, 'host.key'),
    serverUrl,
  }
})
afterEach(async () => {
  for (const agent of running.splice(0)) await agent[Symbol.asyncDispose]()
  await server[Symbol.asyncDispose]()
  await tree[Symbol.asyncDispose]()
  await directory[Symbol.asyncDispose]()
  expect(server.violations).toEqual([])
})

function start(): RunningAgent {
  const agent = startAgent(place)
  running.push(agent)
  return agent
}

async function register(): Promise<void> {
  const { publicKey } = await writeKeyFile(directory.path)
  server.addKey(publicKey, 'web-1')
}

const keyIn = async (file: string) => {
  const seed = parseSeed(await readFile(file, 'utf8'))
  return seed === null ? null : keyId(publicKeyOfSeed(seed))
}
const spooled = async () =>
  (await readdir(path.join(place.state, 'spool'))).filter((name) => !name.endsWith('.tmp'))

describe('host-agent run', () => {
  it('reports, follows switches by itself, and stops in order', async () => {
    await register()
    const agent = start()
    await agent.logged(/was accepted/)
    await tree.link('run/current-system', SYSTEM_B)
    await agent.logged(/was accepted/)
    expect(server.reports).toMatchObject([
      { kind: 'state', change_reason: 'startup', store_path: SYSTEM_A, generation: 1 },
      { kind: 'state', change_reason: 'config_change', store_path: SYSTEM_B, booted_path: SYSTEM_A },
    ])
    expect(await agent.end('SIGTERM')).toEqual({ code: 0, signal: null })
    expect(agent.lines.at(-1)?.message).toBe('stopped')
    expect(await spooled()).toEqual([])
  })

  it('loses nothing that it has spooled when it is killed again and again', async () => {
    await register()
    const serverUrl = place.serverUrl
    await server[Symbol.asyncDispose]()
    const names = new Set<string>()
    for (let round = 0; round < 4; round++) {
      const agent = start()
      await agent.logged(/could not be delivered/)
      const before = (await readdir(path.join(place.state, 'spool'))).length
      await tree.link('run/current-system', round % 2 === 0 ? SYSTEM_B : SYSTEM_A)
      // Killed in the middle: as soon as the next file appears, whole or not.
      while ((await readdir(path.join(place.state, 'spool'))).length <= before) await Promise.resolve()
      await agent.end('SIGKILL')
      for (const name of names) expect(await spooled()).toContain(name)
      for (const name of await spooled()) names.add(name)
    }
    const again = new ControlPlaneStandIn()
    again.authority = server.authority
    again.addKey(
      publicKeyOfSeed(parseSeed(await readFile(place.keyFile, 'utf8')) ?? generateKeyPair().seed),
      'web-1',
    )
    server = again
    await server.listen(Number(new URL(serverUrl).port))
    const expected: string[] = []
    for (const name of [...names].sort((a, b) => (a < b ? -1 : 1))) {
      expected.push(JSON.parse(await readFile(path.join(place.state, 'spool', name), 'utf8')).report_id)
    }
    start()
    await server.until(() => server.reports.length > expected.length)
    expect(server.reports.slice(0, expected.length).map((report) => report.report_id)).toEqual(expected)
    expect(await readdir(path.join(place.state, 'quarantine'))).toEqual([])
  })

  it('says what is wrong and ends with 2 when the configuration is wrong, with 1 when there is no key', async () => {
    const wrong = await runCommand({ ...place, serverUrl: 'http://cf.example.com' }, ['--check-config'])
    expect(wrong).toMatchObject({ code: 2, stdout: '' })
    expect(wrong.stderr).toMatch(/CLIENT__SERVER_URL|client.server_url means unencrypted http/)
    const keyless = await runCommand(place, ['run'])
    expect(keyless.code).toBe(1)
    expect(keyless.stderr).toMatch(/there is no key in .*host.key/)
  })
})

describe('host-agent enroll', () => {
  const token = generateKeyPair()
  const enroll = async (...more: string[]) => {
    const file = path.join(directory.path, 'token')
    await writeFile(
      file,
      `${renderSeed(token.seed).replaceAll('+', '-').replaceAll('/', '_').replace('=', '')}\n`,
    )
    return await runCommand(place, ['enroll', '--token-file', file, ...more])
  }

  it('makes a key that nobody else can read, and the host reports with it', async () => {
    server.addToken(token.seed, 'web-1')
    expect(await enroll()).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^taken as sys_1: ed25519:/),
    })
    expect((await stat(place.keyFile)).mode & 0o777).toBe(0o600)
    await start().logged(/was accepted/)
  })

  it('reads the token from standard input', async () => {
    server.addToken(token.seed, 'web-1')
    const done = await runCommand(place, ['enroll', '--token-file', '-', '--json'], renderSeed(token.seed))
    expect(JSON.parse(done.stdout)).toMatchObject({
      kind: 'done',
      system: 'sys_1',
      keyId: await keyIn(place.keyFile),
    })
  })

  it('finishes when the answer was lost and the command is repeated', async () => {
    server.addToken(token.seed, 'web-1')
    server.faults.push({ when: 'after', how: 'hang-up' })
    expect((await enroll()).code).toBe(1)
    const key = await keyIn(place.keyFile)
    expect(await enroll()).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/earlier attempt had arrived/),
    })
    expect(await keyIn(place.keyFile)).toBe(key)
  })

  it('ends with 3 when the token is not taken, and never shows it', async () => {
    const refused = await enroll()
    expect(refused.code).toBe(3)
    expect(refused.stderr).toMatch(/refused: 401 signature_refused/)
    expect(refused.stderr + refused.stdout).not.toContain(renderSeed(token.seed).slice(0, 20))
  })
})

describe('host-agent rotate-key', () => {
  /** The key that was rotated in, or the one that waits. */
  const rotated = async (which: RegExp) => {
    const origin = (await keyIn(place.keyFile))?.replace('ed25519:', '') ?? ''
    const directory = path.join(place.state, 'keys', origin)
    const name = (await readdir(directory)).find((one) => which.test(one))
    return name === undefined ? null : await keyIn(path.join(directory, name))
  }

  it('replaces the key, also under a running agent, and leaves the file of the operator alone', async () => {
    await register()
    const agent = start()
    await agent.logged(/was accepted/)
    const given = await readFile(place.keyFile, 'utf8')
    const old = await keyIn(place.keyFile)
    const said = await runCommand(place, ['rotate-key', '--json'])
    expect(said).toMatchObject({ code: 0 })
    const fresh = await rotated(/^current\.key$/)
    expect(JSON.parse(said.stdout)).toMatchObject({ kind: 'done', keyId: fresh })
    expect([server.hasKey(String(old)), server.hasKey(String(fresh))]).toEqual([false, true])
    expect(await readFile(place.keyFile, 'utf8')).toBe(given)
    await tree.link('run/current-system', SYSTEM_B)
    await agent.logged(/was accepted/)
    expect(server.reports).toHaveLength(2)
  })

  it('locks nobody out when the answer is lost: a running agent finds the new key', async () => {
    await register()
    server.faults.push({ when: 'after', how: 'hang-up' })
    expect((await runCommand(place, ['rotate-key'])).code).toBe(1)
    const pending = await rotated(/\.pending$/)
    const agent = start()
    await agent.logged(/pending key is the key of this host now/)
    await agent.logged(/was accepted/)
    expect(await rotated(/^current\.key$/)).toBe(pending)
  })

  it('finishes what was begun when the command is repeated', async () => {
    await register()
    server.faults.push({ when: 'after', how: 'hang-up' })
    expect((await runCommand(place, ['rotate-key'])).code).toBe(1)
    const pending = await rotated(/\.pending$/)
    expect((await runCommand(place, ['rotate-key'])).code).toBe(0)
    expect(await rotated(/^current\.key$/)).toBe(pending)
    expect(await rotated(/\.pending$/)).toBeNull()
  })

  it('keeps the old key when the request was lost, and takes the same new one next time', async () => {
    await register()
    server.faults.push({ when: 'before', how: 'hang-up' })
    expect((await runCommand(place, ['rotate-key'])).code).toBe(1)
    const pending = await rotated(/\.pending$/)
    const agent = start()
    await agent.logged(/was accepted/)
    expect(await rotated(/^current\.key$/)).toBeNull()
    expect((await runCommand(place, ['rotate-key'])).code).toBe(0)
    expect(await rotated(/^current\.key$/)).toBe(pending)
  })

  it('says where the key would be when systemd has not put it there', async () => {
    const elsewhere = { ...place, keyFile: '/run/credentials/crystal-forge-agent.service/host.key' }
    const said = await runCommand(elsewhere, ['rotate-key'])
    expect(said).toMatchObject({ code: 1, stderr: expect.stringContaining('while the agent runs: start it') })
  })
})

describe('host-agent observe', () => {
  it('prints what would be reported and needs neither key nor server', async () => {
    const seen = await runCommand({}, ['observe', '--once', '--json', '--root', tree.root])
    expect(seen).toMatchObject({ code: 0, stderr: '' })
    expect(JSON.parse(seen.stdout)).toMatchObject({ kind: 'state', hostname: 'web-1', store_path: SYSTEM_A })
    expect(server.requests).toBe(0)
  })

  it('prints the facts of controls, as the running agent takes them from a process of its own', async () => {
    const seen = await runCommand({}, ['observe', '--controls', '--json', '--root', tree.root])
    expect(seen).toMatchObject({ code: 0, stderr: '' })
    const printed = JSON.parse(seen.stdout)
    expect(printed).toMatchObject({ hostname: 'web-1', current_path: SYSTEM_A, stig_report_sha256: null })
    expect(printed.facts).toContainEqual(
      expect.objectContaining({ collector: 'sshd', error: expect.objectContaining({ code: 'unsupported' }) }),
    )
    const environment = { CRYSTAL_FORGE__CLIENT__ROOT: tree.root }
    const taken = await collectInChild([process.execPath, MAIN], environment, new AbortController().signal)
    expect(taken.facts.map(({ collector }) => collector)).toEqual(
      printed.facts.map(({ collector }: { collector: string }) => collector),
    )
    await expect(
      collectInChild([process.execPath, '-e', '0', '--'], {}, new AbortController().signal),
    ).rejects.toThrow()
  })

  it('ends with 1 on a tree that is no NixOS', async () => {
    await rm(path.join(tree.root, 'run'), { recursive: true })
    expect(await runCommand({ root: tree.root }, ['observe'])).toMatchObject({ code: 1, stdout: '' })
  })
})
