import { defineCommand } from 'citty'
import { type Api, apiOf, type Query, type Row } from '../api.ts'
import { findConnection } from '../connection.ts'
import type { Console } from '../console.ts'
import { parseDuration } from '../duration.ts'
import { CommandError, EXIT, type ExitCode } from '../exit.ts'
import { oneLine } from '../table.ts'
import { changesSince, fleetText, jobName, type Look, type Seen } from '../work-changes.ts'
import { filterArguments, listQuery } from './lists.ts'
import { CONNECTION_ARGUMENTS, type Command } from './shared-arguments.ts'

/** `cf watch`: a line for whatever changes, until no job waits or runs any more. */
export function watchCommand(console: Console): Command {
  return defineCommand({
    meta: {
      name: 'watch',
      description: 'Follow the work until everything is decided, a line for each change',
    },
    args: {
      ...filterArguments(FILTERS),
      timeout: {
        type: 'string',
        valueHint: 'DURATION',
        description: 'Give up after that time (exit code 1)',
      },
      'exit-code': { type: 'boolean', description: 'Exit with 10 unless every selected host is up to date' },
      ...CONNECTION_ARGUMENTS,
      json: { type: 'boolean', description: 'Print a JSON object for each change, one a line' },
    },
    run: async ({ args }): Promise<ExitCode> => {
      const api = apiOf(console, await findConnection(console, args))
      const query = listQuery(args, FILTERS)
      const end = endOf(console, args['timeout'])
      const say = args['json'] === true ? jsonLines(console) : textLines(console)
      const look = await watch({ console, api, query, end, say })
      const upToDate = Object.keys(look.verdicts).every((verdict) => verdict === 'up_to_date')
      return args['exit-code'] === true && !upToDate ? EXIT.drifted : EXIT.ok
    },
  })
}

type Say = (text: string, event: Row) => void
type Watch = {
  readonly console: Console
  readonly api: Api
  readonly query: Query
  /** When to give up, in milliseconds since the epoch. */
  readonly end: number
  readonly say: Say
}

/** Looks again and again, less often while nothing changes. Resolves to the first look that shows no open job. */
async function watch({ console, api, query, end, say }: Watch): Promise<Look> {
  const stalled = stallNotice(console, api, say)
  let seen: Seen | null = null
  let away = false
  let pauseMs = PAUSE_MS_MIN
  for (;;) {
    const look: Look | string = await tryToLook(api, query, seen)
    if (typeof look === 'string') {
      if (!away) say(`the control plane is away, asking again: ${look}`, { kind: 'away', because: look })
      away = true
    } else {
      away = false
      const { changes, seen: now } = changesSince(seen, look)
      seen = now
      for (const { text, ...change } of changes) say(text, change)
      if (look.open.length === 0) {
        say(`decided: ${fleetText(look.verdicts)}`, { kind: 'decided', verdicts: look.verdicts })
        return look
      }
      const moved = changes.some((change) => change.kind !== 'job' || !change.progress)
      if (moved) pauseMs = PAUSE_MS_MIN
      await stalled(look, changes.length > 0)
    }
    if (console.now().getTime() >= end) throw gaveUp(look)
    await console.sleep(pauseMs)
    pauseMs = Math.min(pauseMs * PAUSE_GROWTH, PAUSE_MS_MAX)
  }
}

/** A server that is away is waited for, once it has been there: a text that says why it is. */
async function tryToLook(api: Api, query: Query, seen: Seen | null): Promise<Look | string> {
  try {
    return await lookAround(api, query, seen)
  } catch (error) {
    if (seen === null || !(error instanceof CommandError) || error.exitCode !== EXIT.unreachable) throw error
    return error.message
  }
}

async function lookAround(api: Api, query: Query, before: Seen | null): Promise<Look> {
  // One statement of the server, so that a job that makes another one is never seen as the last.
  const open = (await api.list('/v1/jobs', { open: 'true', limit: '200' })).items
  const recent = [...(await api.list('/v1/jobs', { limit: '50' })).items]
  const known = new Set([...open, ...recent].map((job) => job['id']))
  for (const id of before?.open ?? [])
    if (!known.has(id)) recent.push(await api.call('GET', `/v1/jobs/${encodeURIComponent(id)}`))
  const fleet = await api.list('/v1/drift', { ...query, limit: '200' })
  const verdicts = Object.fromEntries(
    Object.entries(fleet['verdicts'] ?? {}).map(([verdict, hosts]) => [verdict, Number(hosts)]),
  )
  return { open, recent, verdicts, hosts: fleet.next_cursor === null ? fleet.items : null }
}

/** Says why the oldest job waits when nothing has moved for a while, and again when the reason is another one. */
function stallNotice(console: Console, api: Api, say: Say): (look: Look, moved: boolean) => Promise<void> {
  let movedAt = console.now().getTime()
  let said = ''
  return async (look, moved) => {
    const now = console.now().getTime()
    if (moved) movedAt = now
    const oldest = look.open.at(-1)
    if (now - movedAt < STALL_MS || oldest === undefined) return
    movedAt = now
    const id = String(oldest['id'])
    const path = `/v1/jobs/${encodeURIComponent(id)}/waiting`
    // A notice that cannot be given ends nothing: the next look says what is wrong.
    const reasons = await api.call('GET', path).then(
      (answer) => answer['reasons'],
      () => null,
    )
    const [first] = Array.isArray(reasons) ? reasons : []
    if (first === undefined) return
    const text = oneLine(`nothing moves; ${jobName(oldest)} (${id}): ${String(first.sentence)}`)
    if (text !== said) say(text, { kind: 'waiting', job: id, reasons })
    said = text
  }
}

function gaveUp(look: Look | string): CommandError {
  if (typeof look === 'string') return new CommandError(EXIT.unreachable, look)
  const oldest = String(look.open.at(-1)?.['id'])
  const count = look.open.length === 1 ? '1 job is' : `${look.open.length} jobs are`
  return new CommandError(
    EXIT.failed,
    `gave up: ${count} still open; cf why-waiting ${oldest} says why the oldest is`,
  )
}

function endOf(console: Console, timeout: unknown): number {
  if (timeout === undefined) return Number.POSITIVE_INFINITY
  const seconds = parseDuration(timeout)
  if (seconds !== null && seconds > 0) return console.now().getTime() + seconds * 1000
  throw new CommandError(
    EXIT.usage,
    `--timeout is ${JSON.stringify(timeout)}: expected a duration such as 10m or 90s`,
  )
}

function textLines(console: Console): Say {
  return (text) => console.out(`${console.now().toISOString().slice(11, 19)}Z  ${text}`)
}

function jsonLines(console: Console): Say {
  return (text, event) => console.out(JSON.stringify({ at: console.now().toISOString(), ...event, text }))
}

const FILTERS = {
  flake: 'Hosts that follow it',
  environment: 'Hosts of it',
  q: 'Part of the host name',
}

/** Work moves within seconds or within minutes; nobody waits for a line longer than the most of it. */
const PAUSE_MS_MIN = 1000
const PAUSE_MS_MAX = 10_000
const PAUSE_GROWTH = 1.5
const STALL_MS = 60_000
