import { awsClients, queue } from '@crystal-forge/aws'
import {
  type BuilderHelloAnswer,
  builderHelloAnswer,
  claimAnswer,
  type JobPayload,
  jobDocument,
  jobHint,
  parseStrictJson,
  type SecretSeed,
} from '@crystal-forge/protocol'
import * as z from 'zod'
import { type Answer, type ControlPlane, controlPlane } from '../builder-agent/src/control-plane.ts'
import { hintQueue } from '../builder-agent/src/hint-queue.ts'

export type ScriptedCommit = {
  readonly rev: string
  readonly committedAt: Date
  readonly configurations: readonly {
    readonly name: string
    readonly drvPath: string
    readonly outPath: string
  }[]
}

export type ScriptedBuilder = {
  /** What the forge has; append to push. */
  readonly commits: ScriptedCommit[]
  /** How long the verdicts of the last commit took to hand in; a real evaluation takes longer and overlaps with it. */
  handingInMs(): number
  stop(): Promise<void>
}

/** A builder that speaks the real protocol and answers resolve and evaluate jobs from a script; builds it leaves alone. */
export async function scriptedBuilder(options: {
  readonly url: string
  readonly awsEndpoint: string
  readonly seed: SecretSeed
}): Promise<ScriptedBuilder> {
  const stop = new AbortController()
  const plane = controlPlane({
    serverUrl: options.url,
    seed: options.seed,
  })
  const hello = {
    v: 1,
    nix_version: '2.34.8',
    systems: ['x86_64-linux'],
    scanner: null,
    isolation: 'scripted',
  }
  const session = await expectOk(plane.call('/v1/builder/hello', hello, builderHelloAnswer))
  const commits: ScriptedCommit[] = []
  const spent = { ms: 0 }
  const { awsEndpoint: endpoint } = options
  const clients = awsClients({ region: session.cache.region, endpoint: { sqs: endpoint, s3: endpoint } })
  const lanes = (['resolve', 'evaluate'] as const).map((kind) =>
    work({
      kind,
      plane,
      session,
      hints: hintQueue(queue(clients.sqs, session.queues[kind]), session.lease_s),
      commits,
      spent,
      stop: stop.signal,
    }),
  )
  return {
    commits,
    handingInMs: () => spent.ms,
    async stop() {
      stop.abort()
      await Promise.all(lanes)
      clients.sqs.destroy()
      clients.s3.destroy()
    },
  }
}

type Lane = {
  readonly kind: 'resolve' | 'evaluate'
  readonly plane: ControlPlane
  readonly session: BuilderHelloAnswer
  readonly hints: ReturnType<typeof hintQueue>
  readonly commits: readonly ScriptedCommit[]
  readonly spent: { ms: number }
  readonly stop: AbortSignal
}

async function work(lane: Lane): Promise<void> {
  while (!lane.stop.aborted) {
    const hint = await lane.hints.receive(lane.stop)
    if (hint === null) continue
    const { job, attempt } = jobHint.parse(JSON.parse(hint.body))
    const claimed = await expectOk(
      lane.plane.call('/v1/builder/claims', { v: 1, kinds: [lane.kind], job, attempt }, claimAnswer),
    )
    if (claimed.claimed) {
      const document = jobDocument.parse(parseStrictJson(Buffer.from(claimed.document.payload, 'base64')))
      await answer(lane, { job, fence: claimed.fence, work: document.work })
    }
    await hint.delete()
  }
}

async function answer(lane: Lane, claimed: { job: string; fence: number; work: JobPayload }): Promise<void> {
  const { job, fence, work: wanted } = claimed
  const result = async (succeeded: unknown): Promise<void> => {
    const body = { v: 1, fence, result: { outcome: 'succeeded', succeeded } }
    await expectOk(lane.plane.call(`/v1/builder/jobs/${job}/result`, body, z.looseObject({})))
  }
  if (wanted.kind === 'resolve') {
    const known = new Set(wanted.known)
    const fresh = lane.commits.filter(({ rev }) => !known.has(rev))
    const commits = fresh.map((each) => ({
      rev: each.rev,
      committed_at: each.committedAt.toISOString(),
      subject: 'scripted',
    }))
    await result({
      kind: 'resolve',
      commits,
      head: lane.commits.at(-1)?.rev,
      continues: true,
      ...(wanted.known[0] === undefined ? {} : { base: wanted.known[0] }),
    })
  }
  if (wanted.kind === 'evaluate') {
    const commit = lane.commits.find(({ rev }) => rev === wanted.rev)
    const all = (commit?.configurations ?? []).map(evaluated)
    const startedAt = performance.now()
    for (let at = 0; at < all.length; at += BATCH) {
      const body = { v: 1, fence, evaluator: '2.34.8', evaluations: all.slice(at, at + BATCH) }
      await expectOk(lane.plane.call(`/v1/builder/jobs/${job}/evaluations`, body, z.looseObject({})))
    }
    lane.spent.ms = performance.now() - startedAt
    await result({ kind: 'evaluate', configurations: all.length, failed: 0 })
  }
}

function evaluated(configuration: ScriptedCommit['configurations'][number]): object {
  return {
    state: 'ok',
    configuration: configuration.name,
    drv_path: configuration.drvPath,
    out_path: configuration.outPath,
    system: 'x86_64-linux',
    agent_assertion: true,
    export_key: null,
    duration_ms: 0,
  }
}

async function expectOk<Body>(call: Promise<Answer<Body>>): Promise<Body> {
  const answered = await call
  if (answered.kind === 'ok') return answered.body
  throw new Error(`the control plane did not take it: ${JSON.stringify(answered)}`)
}

/** The limit of a message. */
const BATCH = 50
