import { createHash } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { canonicalJson } from '@crystal-forge/protocol'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { run } from '../../cli/src/run.ts'
import { collectFacts } from '../../host-agent/src/controls/collect-facts.ts'
import { COLLECTORS } from '../../host-agent/src/controls/collectors.ts'
import { QUESTIONS } from '../../host-agent/src/controls/questions.generated.ts'
import { compliantHost } from '../../host-agent/test/collected-hosts.ts'
import { reportOf, theCatalogue } from '../controls/demo-host.ts'
import { evaluatedOk, fakePath } from '../pipeline/world.ts'
import { type BuilderCalls, builderOf, must, resolved } from './builder-calls.ts'
import type { Answer, RawRequest } from './raw-http.ts'
import { type RunningServer, runServer } from './running-server.ts'
import { ask, bytesOf, makeIdentity, signed } from './signed-call.ts'

/** From the evaluation of a builder and the collectors of a host to the checklist of an auditor, over the wire of each. */

const catalogue = theCatalogue()
const host = makeIdentity('audited')
const toplevel = fakePath('nixos-system-audited', 'out')
let server: RunningServer
let authority: string
let builder: BuilderCalls
let directory: string

beforeAll(async () => {
  server = await runServer({ leaseS: 60, sweepEveryS: 60 })
  authority = new URL(server.facts.url).host
  directory = await mkdtemp(join(tmpdir(), 'cf-audit-'))
  const identity = makeIdentity('builder-1')
  await must(
    200,
    operator('PUT', '/v1/fleet', {
      builders: [{ name: identity.name, public_key: identity.publicKey }],
      flakes: [{ name: 'audited', repo_url: 'https://git.example.com/acme/audited', auto_poll: false }],
      systems: [{ hostname: host.name, flake_name: 'audited', public_key: host.publicKey }],
    }),
  )
  builder = builderOf({ authority, send }, identity)
  await builder.hello()
  await builder.result(await builder.claim('resolve'), resolved('audited 1'))
}, 120_000)
afterAll(async () => {
  await server?.stop()
  await rm(directory, { recursive: true })
})

const send = (request: RawRequest): Promise<Answer> => ask(server.facts.url, request)

function operator(method: string, target: string, body?: unknown): Promise<Answer> {
  const headers: [string, string][] = [
    ['host', authority],
    ['authorization', `Bearer ${server.adminToken}`],
  ]
  return send({ method, target, headers, ...(body === undefined ? {} : { body: bytesOf(body) }) })
}

function agent(target: string, body: object): Promise<Answer> {
  return send(signed({ by: host.seed, authority, tag: 'crystal-forge-agent-v1', target, body }))
}

/** What `cf export` writes, as statuses by rule. */
async function exported(): Promise<Map<string, { status: string; details: string }>> {
  const file = join(directory, 'audited.cklb')
  const said: string[] = []
  const code = await run(['export', '--host', host.name, '--format', 'cklb', '-o', file], {
    env: { CF_SERVER: server.facts.url, CF_TOKEN: server.adminToken },
    home: directory,
    hostname: 'here',
    now: () => new Date(),
    fetch,
    out: (line) => said.push(line),
    err: (line) => said.push(line),
    sleep: async () => {},
    ask: async () => null,
  })
  expect([code, said.join('\n')]).toEqual([0, expect.stringContaining('sha256')])
  const { stigs } = JSON.parse(await readFile(file, 'utf8'))
  return new Map(
    stigs[0].rules.map((rule: Record<string, string>) => [
      rule['group_id'],
      { status: rule['status'], details: rule['finding_details'] },
    ]),
  )
}

const passed = (rules: Map<string, { status: string }>): string[] =>
  [...rules].filter(([, { status }]) => status === 'not_a_finding').map(([rule]) => rule)

test('an evaluated host that runs the system has 103 rules, and none is not_a_finding', async () => {
  const held = await builder.claim('evaluate')
  const evaluations = [{ ...evaluatedOk('audited', ''), stig_report: reportOf(catalogue) }]
  await must(200, builder.onJob(held, 'evaluations', { evaluator: '2.34.8', evaluations }))
  await builder.result(held, { kind: 'evaluate', configurations: 1, failed: 0 })
  const now = new Date().toISOString()
  await must(
    202,
    agent('/v1/agent/reports', {
      v: 1,
      kind: 'state',
      report_id: 'report-of-the-audit-1',
      hostname: host.name,
      collected_at: now,
      change_reason: 'startup',
      store_path: toplevel,
      booted_path: toplevel,
    }),
  )
  const rules = await exported()
  expect(rules.size).toBe(103)
  expect(passed(rules)).toEqual([])
  expect(rules.get('V-268137')).toEqual({
    status: 'not_reviewed',
    details: expect.stringContaining('configured, unproven'),
  })
})

test('what its collectors find, signed by it, lets rules pass, each with the message that shows it', async () => {
  const banner = catalogue.rules.get('V-268082')?.assess.runtime[0]?.value
  const compliant = await compliantHost(Array.isArray(banner) ? banner.join('\n') : '')
  const { facts } = await collectFacts(compliant.host, QUESTIONS, COLLECTORS)
  await compliant.tree[Symbol.asyncDispose]()
  const now = new Date().toISOString()
  const message = {
    v: 1,
    message_id: 'facts-of-the-audit-01',
    hostname: host.name,
    collected_at: now,
    boot_id: null,
    current_path: toplevel,
    booted_path: toplevel,
    // As the file in the closure: its digest is the evaluation's.
    stig_report_sha256: createHash('sha256')
      .update(canonicalJson(reportOf(catalogue)))
      .digest('hex'),
    sequence: 1,
    previous_sha256: null,
    agent_version: '0.3.0',
    facts: facts.map((fact) => ({ ...fact, collected_at: now })),
  }
  await must(202, agent('/v1/agent/control-facts', message))
  const rules = await exported()
  expect(rules.size).toBe(103)
  expect(passed(rules).length).toBeGreaterThan(60)
  for (const rule of passed(rules)) expect(rules.get(rule)?.details).toMatch(/evidence: evl_\S+ cfm_/)
  // Rules that need a person wait for one, whatever machines say.
  const needing = [...catalogue.rules.values()].filter(({ assess }) => assess.human.need === 'yes')
  for (const { id } of needing) expect([id, rules.get(id)?.status]).not.toEqual([id, 'not_a_finding'])
})

test('after a switch to another system nothing that was shown before counts', async () => {
  await must(
    202,
    agent('/v1/agent/reports', {
      v: 1,
      kind: 'state',
      report_id: 'report-of-the-audit-2',
      hostname: host.name,
      collected_at: new Date().toISOString(),
      change_reason: 'config_change',
      store_path: fakePath('nixos-system-audited', 'another'),
      booted_path: toplevel,
    }),
  )
  const rules = await exported()
  expect(rules.size).toBe(103)
  expect(passed(rules)).toEqual([])
})
