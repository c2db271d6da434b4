import { generateKeyPair, type JobDocument, type JobPayload, signJobDocument } from '@crystal-forge/protocol'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type StandIn, standIn } from '../test/control-plane-stand-in.ts'
import { memoryCache } from '../test/memory-cache.ts'
import { quietLog } from '../test/quiet-log.ts'
import { type TestMachine, testMachine } from '../test/test-machine.ts'
import { doJob, type JobRunner } from './do-job.ts'
import { uploadPool } from './upload-pool.ts'
import type { Claimed } from './work-loop.ts'

/** Ends at once and without any program: this builder may not read that repository. */
const WORK: JobPayload = {
  kind: 'resolve',
  flake: 'f_1',
  source: { kind: 'local', path: '/srv/elsewhere' },
  branch: 'main',
  known: [],
  depth: 5,
}

let machine: TestMachine
beforeAll(async () => {
  machine = await testMachine({ seed: generateKeyPair().seed })
})
afterAll(() => machine.remove())

type Told = { readonly hint: (string | number)[]; readonly log: ReturnType<typeof quietLog> }

async function done(world: StandIn, claimed: Claimed, changes: Partial<JobRunner> = {}): Promise<Told> {
  const log = quietLog()
  const hint: (string | number)[] = []
  const runner: JobRunner = {
    machine: machine.machine,
    controlPlane: world.plane,
    bucket: memoryCache(),
    uploads: uploadPool(2),
    jobPublicKey: world.jobPublicKey,
    stop: new AbortController().signal,
    log,
    ...changes,
  }
  await doJob(runner, claimed, {
    body: '',
    delete: async () => void hint.push('delete'),
    hide: async (seconds) => void hint.push(seconds),
  })
  return { hint, log }
}

describe('a document that is not obeyed: nothing is called, nothing is reported', () => {
  const resigned = (claimed: Claimed, seed: Parameters<typeof signJobDocument>[1]): Claimed => {
    const document: JobDocument = JSON.parse(Buffer.from(claimed.document.payload, 'base64').toString())
    const { payloadType, payload, signatures } = signJobDocument(document, seed)
    return { ...claimed, document: { payloadType, payload, signatures: [...signatures] } }
  }
  const past = new Date(Date.now() - 3_600_000).toISOString()
  test.each<[string, (world: StandIn, job: string) => Claimed, RegExp]>([
    [
      'unsigned',
      (world, job) => ({ ...world.claim(job), document: { ...world.claim(job).document, signatures: [] } }),
      /signature|envelope/,
    ],
    [
      'signed by somebody else',
      (world, job) => resigned(world.claim(job), generateKeyPair().seed),
      /bad_signature/,
    ],
    [
      'changed after it was signed',
      (world, job) => {
        const claimed = world.claim(job)
        const payload = Buffer.from(claimed.document.payload, 'base64')
          .toString()
          .replace('/srv/elsewhere', '/etc')
        return {
          ...claimed,
          document: { ...claimed.document, payload: Buffer.from(payload).toString('base64') },
        }
      },
      /bad_signature/,
    ],
    [
      'of another type',
      (world, job) => {
        const claimed = world.claim(job)
        return { ...claimed, document: { ...claimed.document, payloadType: 'application/vnd.in-toto+json' } }
      },
      /wrong_payload_type/,
    ],
    [
      'for another builder',
      (world, job) => world.claim(job, { builder_key: `ed25519:${'a'.repeat(43)}` }),
      /it is for ed25519:a/,
    ],
    ['expired', (world, job) => world.claim(job, { expires_at: past }), /it expired at/],
    [
      'with another fence',
      (world, job) => ({ ...world.claim(job), fence: 7 }),
      /another one than was claimed/,
    ],
    [
      'of another job',
      (world, job) => ({ ...world.claim(job), job: 'job_other' }),
      /another one than was claimed/,
    ],
    [
      'with a member that nobody knows',
      (world, job) => world.claim(job, JSON.parse('{"extra":1}')),
      /not understood/,
    ],
  ])('%s', async (_, claim, why) => {
    const world = standIn()
    const { hint, log } = await done(world, claim(world, world.add(WORK)))
    expect(log.said).toEqual([
      {
        level: 'error',
        message: 'a job document was refused',
        fields: expect.objectContaining({ why: expect.stringMatching(why) }),
      },
    ])
    expect(world.calls).toEqual([])
    expect(hint).toEqual([])
  })
})

test('what goes wrong inside is a result of the machine, and the hint is removed', async () => {
  const world = standIn()
  const job = world.add(WORK)
  const { hint } = await done(world, world.claim(job))
  expect(world.job(job).result).toMatchObject({
    outcome: 'failed',
    class: 'infra',
    message: expect.stringMatching(/not declared as a local flake/),
  })
  expect(hint).toEqual(['delete'])
})

test.each(['before', 'after'] as const)(
  'a result whose delivery failed %s its effect is delivered again, once',
  async (when) => {
    const world = standIn()
    const job = world.add(WORK)
    const claimed = world.claim(job)
    world.trouble(/result/, when)
    await done(world, claimed)
    expect(world.calls.filter((path) => path.endsWith('/result'))).toHaveLength(2)
    expect(world.job(job).state).toBe('finished')
  },
)

test('a result that cannot be recorded as it is becomes one that can', async () => {
  const world = standIn()
  const job = world.add(WORK)
  const claimed = world.claim(job)
  world.trouble(/result/, { status: 422, code: 'attestation_refused' })
  await done(world, claimed)
  expect(world.job(job).result).toMatchObject({
    class: 'infra',
    message: expect.stringMatching(/attestation_refused/),
  })
})

test('a result for which it is too late is dropped', async () => {
  const world = standIn()
  const job = world.add(WORK)
  const claimed = world.claim(job)
  world.takeAway(job)
  const { log } = await done(world, claimed)
  expect(world.job(job).result).toBeUndefined()
  expect(log.said.map(({ message }) => message)).toContain('the result was refused')
})

test('a builder that stops gives job and hint back at once', async () => {
  const world = standIn()
  const job = world.add(WORK)
  const { hint } = await done(world, world.claim(job), { stop: AbortSignal.abort('stopping') })
  expect(world.job(job).result).toMatchObject({
    class: 'infra',
    message: expect.stringMatching(/was stopped/),
  })
  expect(hint).toEqual([0])
})
