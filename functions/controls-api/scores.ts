import {
  type AssessmentSnapshot,
  type Catalogue,
  countFlips,
  flipsBetween,
  scoreTimes,
} from '@crystal-forge/control-plane'
import type { Database } from '@crystal-forge/postgres'
import { encodeBase64Url, line } from '@crystal-forge/protocol'
import * as z from 'zod'
import { problem, type Reply } from '../http-api.ts'
import {
  type Context,
  type Endpoints,
  inTenant,
  type OperatorEndpoint,
  unknown,
} from '../operator-endpoint.ts'
import { filter, paged } from '../operator-query.ts'
import { AS_OF, assessHosts, readQuestion, scoreItem } from './assessment.ts'

/** Scores over time: nothing of them is kept, every point is judged again from the evidence of its time. */
export function scoreEndpoints(context: Context, catalogue: () => Catalogue): Endpoints {
  return { 'GET /v1/scores': scores(context, catalogue) }
}

const FILTERS = {
  system: filter(line(253)),
  from: AS_OF.as_of,
  to: AS_OF.as_of,
  step_s: filter(
    z
      .string()
      .regex(/^[0-9]{1,8}$/, 'expected whole seconds')
      .transform(Number)
      .refine(
        (seconds) => seconds >= STEP_S_MIN && seconds <= STEP_S_MAX,
        'expected 60 to 31622400 (366 days)',
      ),
  ),
  release: AS_OF.release,
}

function scores(context: Context, catalogue: () => Catalogue): OperatorEndpoint {
  return async ({ request, operator }) => {
    const query = paged(request.rawQuery, FILTERS)
    if (!query.ok) return query.reply
    const { system, step_s: stepS, release } = query.filter
    const step = stepS ?? DAY_S
    // Whole steps of the clock, so that a page that comes later has the same points.
    const present = new Date(Math.floor(context.now().getTime() / (step * 1000)) * step * 1000)
    const read = readQuestion(context, catalogue(), { as_of: query.filter.to ?? present, release })
    if (!read.ok) return read.reply
    const to = read.question.at
    const points = scoreTimes(query.filter.from ?? new Date(to.getTime() - 30 * step * 1000), to, step)
    if (!points.ok) return problem(400, 'invalid_parameter', points.detail)
    const at = { release: read.question.release, system }
    return await inTenant(context, operator, async (database) => {
      if (system !== null) {
        const now = await snapshotAt(database, catalogue(), { ...at, at: context.now() })
        if (now.hosts.length === 0) return unknown('system', system)
      }
      return await answer(database, catalogue(), { ...at, times: points.times, page: query.page })
    })
  }
}

type Asked = { readonly release: string; readonly system: string | null }
type Series = Asked & {
  readonly times: readonly Date[]
  readonly page: { readonly limit: number; readonly after: string | null }
}

/** A page ends after as many points as were asked for, or as many hosts as a request can judge. */
async function answer(
  database: Database,
  catalogue: Catalogue,
  { times, page: { limit, after }, ...asked }: Series,
): Promise<Reply> {
  const first = after === null ? 0 : times.findIndex((time) => time.toISOString() > after)
  const wanted = first < 0 ? [] : times.slice(first)
  const items: object[] = []
  let spent = 0
  let before =
    first > 0 ? await snapshotAt(database, catalogue, { ...asked, at: times[first - 1] ?? FIRST }) : null
  for (const at of wanted) {
    if (items.length === limit || spent >= HOSTS_JUDGED_MAX) break
    const snapshot = await snapshotAt(database, catalogue, { ...asked, at })
    if (snapshot.hosts.length > FLEET_HOSTS_MAX)
      return problem(
        413,
        'score_too_large',
        `at most ${FLEET_HOSTS_MAX} hosts are judged at once: ask by system`,
      )
    items.push(itemOf(snapshot, before))
    spent += Math.max(1, snapshot.hosts.length)
    before = snapshot
  }
  const last = wanted[items.length - 1]
  const cursor =
    last === undefined || items.length === wanted.length
      ? null
      : encodeBase64Url(Buffer.from(last.toISOString(), 'utf8'))
  return { status: 200, body: { items, next_cursor: cursor, release: asked.release } }
}

function itemOf(snapshot: AssessmentSnapshot, before: AssessmentSnapshot | null): object {
  const since = before === null ? { opened: null, closed: null } : countFlips(flipsBetween(before, snapshot))
  return { at: snapshot.at, hosts: snapshot.hosts.length, ...since, ...scoreItem(snapshot.score) }
}

async function snapshotAt(
  database: Database,
  catalogue: Catalogue,
  { system, at, release }: Asked & { readonly at: Date },
): Promise<AssessmentSnapshot> {
  const choice =
    system === null
      ? ({ kind: 'from', hostname: null, most: FLEET_HOSTS_MAX + 1 } as const)
      : ({ kind: 'one', name: system } as const)
  return await assessHosts(database, catalogue, { at, release, choice })
}

const DAY_S = 86_400
const STEP_S_MIN = 60
const STEP_S_MAX = 366 * DAY_S
const FIRST = new Date(0)
const FLEET_HOSTS_MAX = 200
/** Over all points of a page: what a function does within some ten seconds. */
const HOSTS_JUDGED_MAX = 600
