import { createHash, createHmac, randomUUID } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, readDatabaseUrl } from '@crystal-forge/postgres'
import { encodeNixBase32, generateKeyPair, renderPublicKey } from '@crystal-forge/protocol'
import * as z from 'zod'
import { readConfig } from '../server/src/config.ts'
import { startServer } from '../server/src/start.ts'
import { quantile } from './load.ts'
import type { Measured } from './measured.ts'
import { type ScriptedCommit, scriptedBuilder } from './scripted-builder.ts'

/**
 * P5: from a signed webhook to the verdict of a host, control plane only: the builder is scripted and answers at once, so
 * what is measured is the webhook, the outbox, the queue, the claim, a thousand evaluations and the drift of a thousand systems.
 * The rival is the same control plane without a webhook, polling every minute.
 */
export async function measureWebhookToVerdict(): Promise<Measured> {
  const directory = await mkdtemp(join(tmpdir(), 'cf-bench-'))
  const read = readConfig({ HOME: directory, CRYSTAL_FORGE__SERVER__SWEEP_EVERY_S: '1' }, undefined, {
    dataDir: directory,
  })
  if (!read.ok) throw new Error(read.errors.join('; '))
  const server = await startServer(read.config, () => {}, join(import.meta.dirname, '../migrations'))
  try {
    const { url, adminTokenFile, awsEndpoint } = server.started
    const token = (await readFile(adminTokenFile, 'utf8')).trim()
    const builderKey = generateKeyPair()
    const hook = await declareFleet({ url, token }, renderPublicKey(builderKey.publicKey))
    const builder = await scriptedBuilder({ url, awsEndpoint, seed: builderKey.seed })
    const world = { url, token, hook, builder }
    await announce(world, commit(0, 'all'))
    await pretendBuilt(server.started.databaseUrl, join(directory, 'secrets', 'database-superuser-password'))
    const changing = await rounds(world, 'one')
    const built = await builds(world)
    const unchanged = await rounds(world, 'none')
    const more = (await builds(world)) - built
    const polled = await pollingRounds(world)
    await builder.stop()
    const rows = [
      row('webhook, one host changes', changing),
      row('webhook, nothing changes', unchanged),
      row('polling every 60 s', polled),
    ]
    const p95 = quantile(changing.map(besidesEvaluation), 0.95)
    return {
      settings: {
        systems: SYSTEMS,
        rounds: ROUNDS,
        reach: 'p95 <= 2000 ms; no build for a commit that changes nothing',
      },
      rows,
      verdict: `p95 ${p95.toFixed(0)} ms from webhook to verdict besides the evaluation; ${more} builds for ${ROUNDS} commits that change nothing`,
    }
  } finally {
    await server.stop()
    await rm(directory, { recursive: true, force: true })
  }
}

/** A fleet that was built before: only what a commit changes is new. */
async function pretendBuilt(databaseUrl: string, passwordFile: string): Promise<void> {
  const password = (await readFile(passwordFile, 'utf8')).trim()
  const pool = connect({ ...readDatabaseUrl(databaseUrl), password, max: 1 })
  await pool.query("update derivation set state = 'cached', built_at = now()")
  await pool.query("update job set state = 'succeeded', finished_at = now() where kind = 'build'")
  await pool.query('delete from outbox')
  await pool.end()
}

type World = {
  readonly url: string
  readonly token: string
  readonly hook: string
  readonly builder: Awaited<ReturnType<typeof scriptedBuilder>>
}

/** One commit after the other; the time from its delivery until the last system's drift names it. */
async function rounds(world: World, changes: 'one' | 'none'): Promise<Took[]> {
  const took = []
  for (let round = 0; round < ROUNDS; round++) took.push(await announce(world, commit(++commits, changes)))
  return took
}

async function announce(world: World, made: ScriptedCommit): Promise<Took> {
  world.builder.commits.push(made)
  const startedAt = performance.now()
  await deliver(world, made.rev)
  await verdictOf(world, made.rev)
  return { ms: performance.now() - startedAt, handingInMs: world.builder.handingInMs() }
}

/** The same without a delivery: the schedule of the flake finds the commit. */
async function pollingRounds(world: World): Promise<Took[]> {
  await call(world, 'PATCH', '/v1/flakes/fleet', { auto_poll: true, poll_interval_s: 60 })
  const took = []
  for (let round = 0; round < POLLING_ROUNDS; round++) {
    const made = commit(++commits, 'one')
    world.builder.commits.push(made)
    const startedAt = performance.now()
    await verdictOf(world, made.rev)
    took.push({ ms: performance.now() - startedAt, handingInMs: world.builder.handingInMs() })
    // The next commit comes at a time that has nothing to do with the schedule.
    await sleep(7000)
  }
  return took
}

async function verdictOf(world: World, rev: string): Promise<void> {
  const last = `/v1/systems/${hostname(SYSTEMS - 1)}/drift`
  for (;;) {
    const found = await call(world, 'GET', last)
    if (found['desired_rev'] === rev) return
    await sleep(50)
  }
}

async function builds(world: World): Promise<number> {
  let count = 0
  let cursor: unknown = null
  do {
    const more = typeof cursor === 'string' ? `&cursor=${cursor}` : ''
    const page: Record<string, unknown> = await call(world, 'GET', `/v1/jobs?kind=build&limit=200${more}`)
    count += Array.isArray(page['items']) ? page['items'].length : 0
    cursor = page['next_cursor']
  } while (typeof cursor === 'string')
  return count
}

async function declareFleet(at: { url: string; token: string }, builderKey: string): Promise<string> {
  const plan = await call(at, 'PUT', '/v1/fleet', {
    flakes: [{ name: 'fleet', repo_url: 'https://git.example.com/infra/fleet', auto_poll: false }],
    hooks: [{ flake: 'fleet', provider: 'github', secret: SECRET }],
    builders: [{ name: 'scripted', public_key: builderKey }],
    systems: Array.from({ length: SYSTEMS }, (_, n) => ({ hostname: hostname(n), flake_name: 'fleet' })),
  })
  const path = /"path":"(\/v1\/hooks\/[^"]+)"/.exec(JSON.stringify(plan))?.[1]
  if (path === undefined) throw new Error(`no hook in the plan: ${JSON.stringify(plan).slice(0, 500)}`)
  return path
}

async function deliver(world: World, rev: string): Promise<void> {
  const body = JSON.stringify({
    ref: 'refs/heads/main',
    after: rev,
    repository: { clone_url: 'https://git.example.com/infra/fleet' },
  })
  const signature = createHmac('sha256', SECRET).update(body).digest('hex')
  const headers = {
    'content-type': 'application/json',
    'x-github-event': 'push',
    'x-github-delivery': randomUUID(),
    'x-hub-signature-256': `sha256=${signature}`,
  }
  const response = await fetch(world.url + world.hook, { method: 'POST', headers, body })
  if (!response.ok) throw new Error(`delivery: ${response.status} ${await response.text()}`)
}

async function call(
  at: { url: string; token: string },
  method: string,
  path: string,
  body?: unknown,
): Promise<Record<string, unknown>> {
  const headers = { authorization: `Bearer ${at.token}`, 'content-type': 'application/json' }
  const response = await fetch(at.url + path, {
    method,
    headers,
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  if (!response.ok)
    throw new Error(`${method} ${path}: ${response.status} ${(await response.text()).slice(0, 500)}`)
  return z.looseObject({}).parse(await response.json())
}

/** What the scripted builder answers for a commit: every system's paths, of which some are new. */
function commit(n: number, changes: 'all' | 'one' | 'none'): ScriptedCommit {
  if (changes === 'one') versions.set(n % SYSTEMS, n)
  // The last host is looked at, so it changes every time that one does.
  if (changes === 'one') versions.set(SYSTEMS - 1, n)
  const configurations = Array.from({ length: SYSTEMS }, (_, host) => {
    const version = versions.get(host) ?? 0
    const name = `nixos-system-${hostname(host)}-25.11`
    return {
      name: hostname(host),
      drvPath: `${path(`drv ${host} ${version}`, name)}.drv`,
      outPath: path(`out ${host} ${version}`, name),
    }
  })
  return {
    rev: createHash('sha1').update(`commit ${n}`).digest('hex'),
    committedAt: new Date(EPOCH_MS + n * 60_000),
    configurations,
  }
}

function path(seed: string, name: string): string {
  return `/nix/store/${encodeNixBase32(createHash('sha256').update(seed).digest().subarray(0, 20))}-${name}`
}

function hostname(n: number): string {
  return `host-${String(n).padStart(4, '0')}`
}

/** From the delivery to the verdict, and the part of it in which a thousand verdicts were handed in. */
type Took = { readonly ms: number; readonly handingInMs: number }

function row(name: string, took: readonly Took[]): Measured['rows'][number] {
  const ms = (q: number): number =>
    Math.round(
      quantile(
        took.map((each) => each.ms),
        q,
      ),
    )
  const besides = Math.round(quantile(took.map(besidesEvaluation), 0.95))
  const last = { 'max ms': ms(1), 'p95 ms besides handing in 1000 verdicts': besides }
  return { side: name, rounds: took.length, 'p50 ms': ms(0.5), 'p95 ms': ms(0.95), ...last }
}

function besidesEvaluation({ ms, handingInMs }: Took): number {
  return ms - handingInMs
}

const versions = new Map<number, number>()
let commits = 0
const SYSTEMS = 1000
const ROUNDS = 20
const POLLING_ROUNDS = 3
const SECRET = 'a secret of at least sixteen bytes'
const EPOCH_MS = Date.UTC(2026, 10, 1)
