import { createHash } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { acceptedStateIn } from '../src/accepted-state.ts'
import { readSystemPaths } from '../src/collectors/system-paths.ts'
import { factsChainIn } from '../src/control-facts.ts'
import { controlPlaneAt } from '../src/control-plane.ts'
import { collectFacts } from '../src/controls/collect-facts.ts'
import { COLLECTORS } from '../src/controls/collectors.ts'
import { runNothing } from '../src/controls/run-program.ts'
import { endpointOf } from '../src/endpoint.ts'
import type { FactsPorts } from '../src/facts-round.ts'
import { type HostKeys, hostKeysIn } from '../src/host-keys.ts'
import type { LogLevel } from '../src/json-log.ts'
import { observe } from '../src/observe.ts'
import { type ReportFiles, reportFilesIn } from '../src/report-files.ts'
import { type ReportLoop, reportLoop } from '../src/report-loop.ts'
import { rootedTree } from '../src/rooted-tree.ts'
import { factsSender, reportSender } from '../src/send-report.ts'
import { openSpool } from '../src/spool.ts'
import { ControlPlaneStandIn } from './control-plane-stand-in.ts'
import { type PreparedTree, preparedTree, SYSTEM_A, SYSTEM_B, temporaryDirectory } from './prepared-tree.ts'
import { writeKeyFile } from './running-agent.ts'

let tree: PreparedTree
let directory: Awaited<ReturnType<typeof temporaryDirectory>>
let server: ControlPlaneStandIn
let url: string
let keys: HostKeys
const agents: { stop(): Promise<void> }[] = []

beforeEach(async () => {
  tree = await preparedTree()
  directory = await temporaryDirectory()
  server = new ControlPlaneStandIn()
  url = await server.listen()
  const key = await writeKeyFile(directory.path)
  keys = hostKeysIn({ givenFile: key.keyFile, directory: path.join(directory.path, 'keys') })
  server.addKey(key.publicKey, 'web-1')
})
afterEach(async () => {
  for (const agent of agents.splice(0)) await agent.stop()
  await server[Symbol.asyncDispose]()
  await tree[Symbol.asyncDispose]()
  await directory[Symbol.asyncDispose]()
  expect(server.violations).toEqual([])
})

type Line = { level: LogLevel; message: string; fields: Readonly<Record<string, unknown>> }

/** The loop with its real parts, in this process; its clock is moved by the test and chance never delays. */
async function start(options: { files?: ReportFiles; now?: () => Date; facts?: boolean } = {}) {
  const stop = new AbortController()
  const lines: Line[] = []
  let passed = 0
  let ids = 0
  let wake = () => {}
  const log = (level: LogLevel, message: string, fields = {}) => {
    lines.push({ level, message, fields })
    wake()
  }
  const now = options.now ?? (() => new Date())
  const endpoint = endpointOf({
    serverUrl: url,
    serverHost: null,
    serverPort: null,
    allowPlainHttp: false,
    authority: null,
  })
  if ('message' in endpoint) throw new Error(endpoint.message)
  const controlPlane = controlPlaneAt({ endpoint, ca: null, userAgent: 'test', now })
  const run = `${process.pid}-${agents.length}`
  const loop: ReportLoop = reportLoop({
    observe: () => observe(rootedTree(tree.root)),
    spool: openSpool({
      files: options.files ?? (await reportFilesIn(directory.path)),
      limits: { bytesMax: 1e6, ageMaxMs: 1e9 },
      now,
      onCorrupt: (name) => log('error', 'corrupt', { name }),
    }),
    accepted: await acceptedStateIn(path.join(directory.path, 'accepted.json')),
    send: reportSender({ controlPlane, keys, log }),
    log,
    now,
    monotonicMs: () => performance.now() + passed,
    random: () => 0,
    newReportId: () => `report-${run}-${String(++ids).padStart(10, '0')}`,
    heartbeatIntervalMs: 600_000,
    facts: options.facts === true ? await factsPorts(controlPlane) : null,
  })
  const running = loop.run(stop.signal)
  const agent = {
    lines,
    advance(ms: number) {
      passed += ms
      loop.changed([])
    },
    async switchTo(...systems: string[]) {
      const seen = []
      for (const system of systems) {
        await tree.link('run/current-system', system)
        seen.push(readSystemPaths(rootedTree(tree.root)))
      }
      loop.changed(seen)
    },
    /** Resolves when so many lines with this message were logged, with the last of them. */
    async logged(message: RegExp, count = 1): Promise<Line> {
      for (;;) {
        const found = lines.filter((line) => message.test(line.message))[count - 1]
        if (found !== undefined) return found
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    },
    /** Resolves when the loop has dealt with so many answers. */
    async accepted(count: number): Promise<void> {
      await agent.logged(/was accepted/, count)
    },
    async stop() {
      stop.abort()
      await running
      controlPlane.close()
    },
  }
  agents.push(agent)
  return agent
}

/** The facts of the tree as they are, read in this process. */
async function factsPorts(controlPlane: ReturnType<typeof controlPlaneAt>): Promise<FactsPorts> {
  let messages = 0
  const run = `facts-${process.pid}-${agents.length}`
  const chain = await factsChainIn(
    path.join(directory.path, 'facts-chain.json'),
    () => `${run}-${String(++messages).padStart(10, '0')}`,
  )
  const host = { tree: rootedTree(tree.root), run: runNothing, now: () => new Date(), monotonicMs: () => 0 }
  const question = { collector: 'system-paths', args: {} }
  return {
    source: { ...chain, collect: () => collectFacts(host, [question], COLLECTORS) },
    send: factsSender({ controlPlane, keys }),
    intervalMs: 86_400_000,
  }
}

const sha256 = (body: Uint8Array | undefined) =>
  createHash('sha256')
    .update(body ?? '')
    .digest('hex')
const summary = () =>
  server.reports.map((report) =>
    report.kind === 'state'
      ? `${report.change_reason} ${report.store_path === SYSTEM_A ? 'A' : 'B'}`
      : 'heartbeat',
  )
const spooled = () => readdir(path.join(directory.path, 'spool'))
const quarantined = () => readdir(path.join(directory.path, 'quarantine'))

describe('the agent and its control plane', () => {
  it('reports its state at start, heartbeats when nothing changes, a state when facts or the system change', async () => {
    const agent = await start()
    await agent.accepted(1)
    agent.advance(600_000)
    await agent.accepted(2)
    await tree.write('proc/sys/kernel/osrelease', '6.12.61')
    agent.advance(600_000)
    await agent.accepted(3)
    await agent.switchTo(SYSTEM_B)
    await agent.accepted(4)
    agent.advance(600_000)
    await agent.accepted(5)
    expect(summary()).toEqual(['startup A', 'heartbeat', 'state_delta A', 'config_change B', 'heartbeat'])
  })

  it('reports a system that ran for a moment', async () => {
    const agent = await start()
    await agent.accepted(1)
    await agent.switchTo(SYSTEM_B, SYSTEM_A)
    await agent.accepted(3)
    expect(summary()).toEqual(['startup A', 'config_change B', 'config_change A'])
  })

  it('comes back when the control plane asks, within reason', async () => {
    server.nextReportInS = 60
    const agent = await start()
    await agent.accepted(1)
    agent.advance(60_000)
    await agent.accepted(2)
    expect(summary()).toEqual(['startup A', 'heartbeat'])
  })

  it('sends a report once more under its id when the answer was lost, and it counts once', async () => {
    server.faults.push({ when: 'after', how: 'hang-up' })
    const agent = await start()
    await agent.accepted(1)
    expect(server.requests).toBe(2)
    agent.advance(600_000)
    await agent.accepted(2)
    expect(summary()).toEqual(['startup A', 'heartbeat'])
  })

  it('sends again when the request was lost', async () => {
    server.faults.push({ when: 'before', how: 'hang-up' })
    const agent = await start()
    await agent.accepted(1)
    expect(server.requests).toBe(2)
  })

  it('sends its full state when the control plane does not know it any more', async () => {
    const agent = await start()
    await agent.accepted(1)
    server.forgetStates()
    agent.advance(600_000)
    await agent.accepted(2)
    expect(summary()).toEqual(['startup A', 'state_delta A'])
    expect(await spooled()).toEqual([])
  })

  it('waits as long as it is told', async () => {
    server.faults.push({
      when: 'before',
      how: 'answer',
      status: 503,
      body: {},
      headers: { 'retry-after': '120' },
    })
    const agent = await start()
    expect((await agent.logged(/could not be delivered/)).fields).toMatchObject({ next_attempt_in_s: 120 })
    agent.advance(100_000)
    expect(server.requests).toBe(1)
    agent.advance(20_000)
    await agent.accepted(1)
  })

  it('signs anew when a nonce was spent', async () => {
    const problem = { type: 'x', title: 'x', status: 409, code: 'replayed' }
    server.faults.push({
      when: 'before',
      how: 'answer',
      status: 409,
      body: problem,
      headers: { 'content-type': 'application/problem+json' },
    })
    const agent = await start()
    await agent.accepted(1)
    expect(agent.lines.some((line) => /signed and sent again/.test(line.message))).toBe(true)
  })

  it('keeps everything while its key is refused, says so once, and delivers in order when it is known', async () => {
    const other = await writeKeyFile(directory.path)
    const agent = await start()
    await agent.logged(/could not be delivered/)
    await agent.switchTo(SYSTEM_B)
    agent.advance(15_000)
    await agent.logged(/could not be delivered/, 2)
    server.addKey(other.publicKey, 'web-1')
    agent.advance(15_000)
    await agent.accepted(2)
    expect(summary()).toEqual(['startup A', 'config_change B'])
    expect(agent.lines.filter((line) => /DOES NOT TAKE/.test(line.message))).toHaveLength(1)
  })

  it('sets a refused report aside and goes on with the next', async () => {
    const problem = { type: 'x', title: 'x', status: 413, code: 'body_too_large' }
    server.faults.push({
      when: 'before',
      how: 'answer',
      status: 413,
      body: problem,
      headers: { 'content-type': 'application/problem+json' },
    })
    const agent = await start()
    await agent.logged(/set aside/)
    expect(await quarantined()).toHaveLength(1)
    agent.advance(600_000)
    await agent.accepted(1)
    expect(summary()).toEqual(['state_delta A'])
  })

  it('believes no proxy that refuses in the name of the control plane', async () => {
    server.faults.push({
      when: 'before',
      how: 'answer',
      status: 400,
      body: 'go away',
      headers: { 'content-type': 'text/html' },
    })
    const agent = await start()
    await agent.logged(/could not be delivered/)
    expect(await quarantined()).toEqual([])
    agent.advance(15_000)
    await agent.accepted(1)
  })

  it('tells of a wrong clock, does not correct it, and keeps the report', async () => {
    let skew = 600_000
    const agent = await start({ now: () => new Date(Date.now() + skew) })
    const line = await agent.logged(/clocks disagree/)
    expect(
      Date.parse(String(line.fields['own_time'])) - Date.parse(String(line.fields['server_time'])),
    ).toBeGreaterThan(500_000)
    skew = 0
    await agent.accepted(1)
    expect(summary()).toEqual(['startup A'])
  })

  it('says that it does not act upon an order, once for each', async () => {
    server.deployment = { payloadType: 't', payload: 'b3JkZXI=', signatures: [] }
    const agent = await start()
    await agent.logged(/NOT acted upon/)
    agent.advance(600_000)
    await agent.accepted(2)
    await agent.stop()
    expect(agent.lines.filter((line) => /NOT acted upon/.test(line.message))).toHaveLength(1)
  })

  it('delivers what an earlier run has left, in order, before its own', async () => {
    await server[Symbol.asyncDispose]()
    const first = await start()
    await first.logged(/could not be delivered/)
    await first.switchTo(SYSTEM_B)
    await expect.poll(spooled).toHaveLength(2)
    await first.stop()
    const again = new ControlPlaneStandIn()
    again.authority = server.authority
    const key = await writeKeyFile(directory.path)
    again.addKey(key.publicKey, 'web-1')
    server = again
    await server.listen(Number(new URL(url).port))
    const second = await start()
    await second.accepted(3)
    expect(summary()).toEqual(['startup A', 'config_change B', 'startup B'])
  })

  it('goes on without a disk', async () => {
    const broken = async () => {
      throw new Error('ENOSPC: no space left on device')
    }
    const files: ReportFiles = { ...(await reportFilesIn(directory.path)), write: broken }
    const agent = await start({ files })
    await agent.accepted(1)
    await agent.switchTo(SYSTEM_B)
    await agent.accepted(2)
    expect(summary()).toEqual(['startup A', 'config_change B'])
    expect(agent.lines.some((line) => /cannot spool/.test(line.message))).toBe(true)
  })

  it('waits for a system that it can see', async () => {
    await tree.link('run/current-system', '/nowhere')
    const agent = await start()
    await agent.logged(/cannot observe/)
    await agent.switchTo(SYSTEM_A)
    await agent.accepted(1)
    expect(summary()).toEqual(['startup A'])
  })
})

describe('the facts of controls', () => {
  it('follow the first report, come again after a day and after a switch, and form a chain', async () => {
    const agent = await start({ facts: true })
    await agent.accepted(1)
    expect(server.facts).toEqual([])
    agent.advance(60_000)
    await agent.logged(/facts of controls were accepted/)
    agent.advance(86_400_000)
    await agent.logged(/facts of controls were accepted/, 2)
    await agent.accepted(2)
    await agent.switchTo(SYSTEM_B)
    await agent.accepted(3)
    agent.advance(60_000)
    await agent.logged(/facts of controls were accepted/, 3)
    expect(
      server.facts.map(
        ({ sequence, current_path }) => `${sequence} ${current_path === SYSTEM_A ? 'A' : 'B'}`,
      ),
    ).toEqual(['1 A', '2 A', '3 B'])
    const [first, second] = server.factsBodies
    expect(server.facts.map(({ previous_sha256 }) => previous_sha256)).toEqual([
      null,
      sha256(first),
      sha256(second),
    ])
    expect(server.facts[2]?.facts).toMatchObject([
      { collector: 'system-paths', value: { bootedIsCurrent: false } },
    ])
  })

  it('go on with the chain after a restart', async () => {
    const first = await start({ facts: true })
    await first.accepted(1)
    first.advance(60_000)
    await first.logged(/facts of controls were accepted/)
    await first.stop()
    const second = await start({ facts: true })
    await second.accepted(1)
    second.advance(60_000)
    await second.logged(/facts of controls were accepted/)
    expect(server.facts.map(({ sequence }) => sequence)).toEqual([1, 2])
    expect(server.facts[1]?.previous_sha256).toBe(sha256(server.factsBodies[0]))
  })

  it('arrive once when the answer was lost, and hold up no report meanwhile', async () => {
    const agent = await start({ facts: true })
    await agent.accepted(1)
    server.faults.push({ when: 'after', how: 'hang-up' })
    agent.advance(60_000)
    await agent.logged(/facts of controls could not be delivered/)
    await agent.switchTo(SYSTEM_B)
    await agent.accepted(2)
    agent.advance(20_000)
    await agent.logged(/facts of controls were accepted/)
    expect(server.facts).toHaveLength(1)
    expect(await spooled()).toEqual([])
  })

  it('are given up where the control plane does not know them', async () => {
    server.takesFacts = false
    const agent = await start({ facts: true })
    await agent.accepted(1)
    agent.advance(60_000)
    await agent.logged(/does not take facts of controls/)
    agent.advance(86_400_000)
    await agent.accepted(2)
    expect(agent.lines.filter((line) => /facts of controls/.test(line.message))).toHaveLength(1)
    expect(await spooled()).toEqual([])
  })
})
