import { randomUUID } from 'node:crypto'
import {
  type ClaimAnswer,
  type ClaimRequest,
  cacheCommitRequest,
  cacheMissingRequest,
  claimRequest,
  type Evaluated,
  evaluationsRequest,
  generateKeyPair,
  type JobDocument,
  type JobHeartbeat,
  type JobPayload,
  type JobResult,
  jobHeartbeat,
  jobResult,
  keyId,
  publicKeyOfSeed,
  type SecretSeed,
  signJobDocument,
  type UploadedPath,
} from '@crystal-forge/protocol'
import type * as z from 'zod'
import type { Answer, ControlPlane } from '../src/control-plane.ts'

type Job = {
  readonly id: string
  readonly work: JobPayload
  attempt: number
  fence: number
  state: 'queued' | 'leased' | 'finished'
  cancel: boolean
  result: JobResult['result'] | undefined
}

/** What happens to the next calls whose path matches: nothing happens, or it happens and the answer is lost, or it is refused. */
export type Trouble = {
  readonly path: RegExp
  readonly when: 'before' | 'after' | { readonly status: number; readonly code: string }
  times: number
}

/**
 * The control plane as one builder sees it, in memory: jobs with fences, verdicts, results and a cache, with the schemas of
 * the protocol at its border. A message that they refuse is answered as the real one does, and counted in `unreadable`.
 */
export type StandIn = {
  readonly plane: ControlPlane
  readonly builderSeed: SecretSeed
  readonly jobPublicKey: Uint8Array
  readonly leaseS: number
  add(work: JobPayload): string
  job(id: string): Job
  claim(id: string, changes?: Partial<JobDocument>): Extract<ClaimAnswer, { claimed: true }>
  trouble(path: RegExp, when: Trouble['when'], times?: number): void
  /** Gives the job to somebody else: the fence that a builder holds becomes stale. */
  takeAway(id: string): void
  readonly evaluations: Evaluated[]
  readonly cached: Map<string, UploadedPath>
  readonly toplevels: string[]
  readonly heartbeats: JobHeartbeat[]
  readonly calls: string[]
  readonly unreadable: string[]
  /** How often each job was given out while somebody held it: always empty. */
  readonly doubles: string[]
}

export function standIn(leaseS = 30): StandIn {
  const builderSeed = generateKeyPair().seed
  const signing = generateKeyPair()
  const builderKey = keyId(publicKeyOfSeed(builderSeed))
  const jobs = new Map<string, Job>()
  const troubles: Trouble[] = []
  const job = (id: string): Job => {
    const found = jobs.get(id)
    if (found === undefined) throw new Error(`the test has no job ${id}`)
    return found
  }
  const state: StandIn = {
    builderSeed,
    jobPublicKey: signing.publicKey,
    leaseS,
    evaluations: [],
    cached: new Map(),
    toplevels: [],
    heartbeats: [],
    calls: [],
    unreadable: [],
    doubles: [],
    add(work) {
      const id = `job_${randomUUID()}`
      jobs.set(id, { id, work, attempt: 0, fence: 0, state: 'queued', cancel: false, result: undefined })
      return id
    },
    job,
    claim: (id, changes = {}) => claim(state, { signing: signing.seed, id, changes }),
    trouble: (path, when, times = 1) => troubles.push({ path, when, times }),
    takeAway(id) {
      job(id).fence += 1
    },
    plane: {
      keyId: builderKey,
      async call(path, body, answer, signal) {
        state.calls.push(path)
        const trouble = troubles.find(({ path: of, times }) => times > 0 && of.test(path))
        if (trouble !== undefined) trouble.times -= 1
        const when = trouble?.when
        if (signal?.aborted || when === 'before') return unanswered('it did not arrive')
        if (typeof when === 'object') return refused(when.status, when.code, 'as the test wants it')
        // Across the wire only what JSON carries.
        const reply = act(state, [...jobs.values()], path, JSON.parse(JSON.stringify(body)))
        if (when === 'after') return unanswered('the answer was lost')
        return 'kind' in reply
          ? reply
          : { kind: 'ok', body: answer.parse(reply.body) as z.output<typeof answer> }
      },
    },
  }
  return state
}

function claim(
  state: StandIn,
  {
    signing,
    id,
    changes,
  }: { readonly signing: SecretSeed; readonly id: string; readonly changes: Partial<JobDocument> },
): Extract<ClaimAnswer, { claimed: true }> {
  const claimed = state.job(id)
  if (claimed.state === 'leased') state.doubles.push(id)
  claimed.state = 'leased'
  claimed.attempt += 1
  claimed.fence += 1
  const document: JobDocument = {
    v: 1,
    tenant: 't_1',
    job: id,
    attempt: claimed.attempt,
    fence: claimed.fence,
    builder_key: state.plane.keyId,
    issued_at: new Date().toISOString(),
    expires_at: new Date(Date.now() + 3_600_000).toISOString(),
    work: claimed.work,
    ...changes,
  }
  const { payloadType, payload, signatures } = signJobDocument(document, signing)
  return {
    claimed: true,
    job: id,
    kind: claimed.work.kind,
    attempt: claimed.attempt,
    fence: claimed.fence,
    lease_s: state.leaseS,
    document: { payloadType, payload, signatures: [...signatures] },
  }
}

type Refused = Extract<Answer<never>, { kind: 'refused' }>

function act(state: StandIn, jobs: readonly Job[], path: string, body: unknown): { body: unknown } | Refused {
  if (path === '/v1/builder/claims')
    return parsed(state, claimRequest, body, (wanted) => ({ body: claimAnswer(state, jobs, wanted) }))
  if (path === '/v1/builder/cache/missing')
    return parsed(state, cacheMissingRequest, body, (asked) => ({
      body: { missing: asked.paths.filter((wanted) => !state.cached.has(wanted)) },
    }))
  if (path === '/v1/builder/cache/commit')
    return parsed(state, cacheCommitRequest, body, (commit) => {
      const held = holds(state, commit.job, commit.fence)
      if (held !== undefined) return held
      for (const uploaded of commit.paths) {
        const absent = uploaded.references.find(
          (reference) =>
            !state.cached.has(reference) && !commit.paths.some((other) => other.path === reference),
        )
        if (absent !== undefined) return refused(422, 'reference_missing', absent)
        state.cached.set(uploaded.path, uploaded)
      }
      if (commit.toplevel !== undefined) state.toplevels.push(commit.toplevel)
      return { body: { published: commit.paths.length } }
    })
  const [, id = '', what = ''] =
    /^\/v1\/builder\/jobs\/([^/]+)\/(heartbeat|evaluations|result)$/.exec(path) ?? []
  return onJob(state, { id, what, body })
}

function onJob(
  state: StandIn,
  { id, what, body }: { id: string; what: string; body: unknown },
): { body: unknown } | Refused {
  switch (what) {
    case 'heartbeat':
      return parsed(state, jobHeartbeat, body, (beat) => {
        const held = holds(state, id, beat.fence)
        if (held !== undefined) return held
        state.heartbeats.push(beat)
        return { body: { lease_s: state.leaseS, cancel: state.job(id).cancel } }
      })
    case 'evaluations':
      return parsed(state, evaluationsRequest, body, (message) => {
        const held = holds(state, id, message.fence)
        if (held !== undefined) return held
        state.evaluations.push(...message.evaluations)
        return { body: {} }
      })
    case 'result':
      return parsed(state, jobResult, body, ({ fence, result }) => {
        const job = state.job(id)
        const known = job.result
        if (known !== undefined && job.fence === fence)
          return JSON.stringify(known) === JSON.stringify(result)
            ? { body: { recorded: true, next: 'done' } }
            : refused(409, 'stale_fence', 'it has another result')
        const held = holds(state, id, fence)
        if (held !== undefined) return held
        job.result = result
        job.state = 'finished'
        return { body: { recorded: true, next: 'done' } }
      })
    default:
      throw new Error(`the builder called a path that no control plane has: ${id} ${what}`)
  }
}

function claimAnswer(state: StandIn, jobs: readonly Job[], wanted: ClaimRequest): ClaimAnswer {
  const found = jobs.find(
    (job) =>
      job.state === 'queued' &&
      wanted.kinds.includes(job.work.kind) &&
      (wanted.job === undefined || wanted.job === job.id),
  )
  if (found !== undefined) return state.claim(found.id)
  if (wanted.job === undefined) return { claimed: false, because: 'none' }
  const named = jobs.find(({ id }) => id === wanted.job)
  if (named === undefined) return { claimed: false, because: 'unknown' }
  return { claimed: false, because: named.state === 'finished' ? 'finished' : 'taken' }
}

function holds(state: StandIn, id: string, fence: number): Refused | undefined {
  const job = state.job(id)
  return job.state === 'leased' && job.fence === fence
    ? undefined
    : refused(409, 'stale_fence', `job ${id} is not yours any more`)
}

function parsed<Schema extends z.ZodType>(
  state: StandIn,
  schema: Schema,
  body: unknown,
  then: (value: z.output<Schema>) => { body: unknown } | Refused,
): { body: unknown } | Refused {
  const result = schema.safeParse(body)
  const fault = result.success
    ? /[\u{d800}-\u{dfff}]/u.test(JSON.stringify(body)) || /\\u(d[89a-f]|0000)/i.test(JSON.stringify(body))
      ? 'half a character or NUL'
      : undefined
    : result.error.message
  if (result.success && fault === undefined) return then(result.data)
  state.unreadable.push(fault ?? '')
  return refused(400, 'bad_body', fault ?? '')
}

function refused(status: number, code: string, detail: string): Refused {
  return { kind: 'refused', status, code, detail }
}

function unanswered(why: string): Extract<Answer<never>, { kind: 'unanswered' }> {
  return { kind: 'unanswered', why, retryAfterMs: 0 }
}
