import { type BuildPayload, jobDocument } from '@crystal-forge/protocol'
import { waitFor } from '../demo/wait-for.ts'
import { rev } from '../pipeline/world.ts'
import type { Answer, RawRequest } from './raw-http.ts'
import { type Identity, signed } from './signed-call.ts'

export type Held = { readonly job: string; readonly fence: number; readonly work: Work }
type Work = ReturnType<typeof jobDocument.parse>['work']

export type BuilderCalls = {
  hello(): Promise<void>
  claim(kind: string): Promise<Held>
  result(held: Held, succeeded: object): Promise<void>
  onJob(held: Held, what: string, body: object): Promise<Answer>
  call(target: string, body: object): Promise<Answer>
}

/** A builder that says what the test tells it to say. */
export function builderOf(
  { authority, send }: { readonly authority: string; send(request: RawRequest): Promise<Answer> },
  { seed }: Identity,
): BuilderCalls {
  const call = (target: string, body: object): Promise<Answer> =>
    send(signed({ by: seed, authority, tag: 'crystal-forge-builder-v1', target, body: { v: 1, ...body } }))
  const onJob = ({ job, fence }: Held, what: string, body: object): Promise<Answer> =>
    call(`/v1/builder/jobs/${job}/${what}`, { fence, ...body })
  return {
    call,
    onJob,
    hello: async () => {
      await must(
        200,
        call('/v1/builder/hello', {
          nix_version: '2.34.8',
          systems: ['x86_64-linux'],
          scanner: null,
          isolation: 'none',
        }),
      )
    },
    claim: async (kind) => {
      // A job that is being hinted at is locked for that moment, and passed over.
      const document = await waitFor(`a ${kind} job`, async () => {
        const { body } = await must(200, call('/v1/builder/claims', { kinds: [kind] }))
        return body['claimed'] === true ? (body['document'] as { payload: string }) : undefined
      })
      const payload = Buffer.from(document.payload, 'base64').toString('utf8')
      const { job, fence, work } = jobDocument.parse(JSON.parse(payload))
      return { job, fence, work }
    },
    result: async (held, succeeded) => {
      await must(200, onJob(held, 'result', { result: { outcome: 'succeeded', succeeded } }))
    },
  }
}

/** What a builder says of a branch of which `head` is new. */
export function resolved(head: string, base?: string): object {
  return {
    kind: 'resolve',
    commits: [{ rev: rev(head), committed_at: '2026-11-22T19:00:00Z', subject: `commit ${head}` }],
    head: rev(head),
    continues: true,
    ...(base === undefined ? {} : { base: rev(base) }),
  }
}

export function workOf({ work }: Held): BuildPayload {
  if (work.kind !== 'build') throw new Error(`a ${work.kind} job has no build`)
  return work
}

/** The answer, when it has the status that the test rests on. */
export async function must(status: number, asked: Promise<Answer>): Promise<Answer> {
  const answer = await asked
  if (answer.status !== status) throw new Error(`expected ${status}, got ${answer.status} ${answer.text}`)
  return answer
}
