import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { builderCases } from './hostile/builder-cases.ts'
import { enrolmentCases } from './hostile/enrolment-cases.ts'
import { fleetCases } from './hostile/fleet-cases.ts'
import { type FleetState, readFleetState } from './hostile/fleet-state.ts'
import type { HostileCase } from './hostile/hostile-case.ts'
import { createHostileWorld, type HostileWorld } from './hostile/hostile-world.ts'
import { legacyCases } from './hostile/legacy-cases.ts'
import { messageCases } from './hostile/message-cases.ts'
import { operatorCases } from './hostile/operator-cases.ts'
import { signedRequestCases } from './hostile/signed-request-cases.ts'
import { webhookCases } from './hostile/webhook-cases.ts'
import type { Answer } from './raw-http.ts'
import { ROOT } from './running-server.ts'

const CASES: readonly HostileCase[] = [
  ...signedRequestCases(),
  ...messageCases(),
  ...legacyCases(),
  ...webhookCases(),
  ...operatorCases(),
  ...enrolmentCases(),
  ...builderCases(),
  ...fleetCases(),
]

let world: HostileWorld
let before: FleetState
let eventsBefore: Record<string, number>
const statuses: number[] = []

beforeAll(async () => {
  world = await createHostileWorld()
  before = await readFleetState(world)
  eventsBefore = await countEvents()
}, 120_000)
afterAll(() => world?.stop())

describe('each has its answer', () => {
  test.each(CASES)('$name', async ({ send, status, code, words }) => {
    const answer = await send(world)
    if (answer === null) throw new Error('the connection was closed without an answer')
    statuses.push(answer.status)
    expect(answer.status, answer.text).toBe(status)
    if (code === null) expect(answer.body).not.toHaveProperty('code')
    else expectProblem(answer, code)
    for (const word of words) expect(answer.text).toContain(word)
  })

  test('there are more than the 60 that were asked for, and none is there twice', () => {
    expect(CASES.length).toBeGreaterThan(80)
    expect(new Set(CASES.map(({ name }) => name)).size).toBe(CASES.length)
  })
})

describe('cf apply names the place of what is wrong in a file', () => {
  const files: [name: string, toml: string, place: string, ...words: string[]][] = [
    ['a value that is missing', '[[systems]]\nhostname =\n', ':2:'],
    ['a bracket that is open', '[[systems]]\nhostname = "web-1"\nflake_name = ["fleet"\n', ':4:'],
    ['a key twice', '[[systems]]\nhostname = "a"\nhostname = "b"\n', ':3:'],
    ['a string that does not end', '[[flakes]]\nname = "fleet\n', ':2:'],
    ['a control character', '[[systems]]\nhostname = "a\u001b[2J"\n', ':2:'],
    [
      'a flake that is an option',
      '[[flakes]]\nname = "--help"\nrepo_url = "x"\n',
      ': flakes.0.name',
      '--help',
    ],
    ['a table where a list belongs', '[systems]\nhostname = "a"\n', ': systems'],
  ]
  test.each(files)('%s', async (_, toml, place, ...words) => {
    const file = join(world.server.directory, 'fleet.toml')
    await writeFile(file, toml)
    const ran = await apply(file)
    expect(ran.code, ran.stderr).toBe(2)
    expect(ran.stderr).toContain(`${file}${place}`)
    if (/^:[0-9]/.test(place)) expect(ran.stderr).toMatch(/fleet\.toml:[0-9]+:[0-9]+: /)
    for (const word of words) expect(ran.stderr).toContain(word)
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not reach a terminal
    expect(ran.stderr).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/)
  })
})

describe('after all of them', () => {
  test('what the operator API shows of the fleet is unchanged', async () => {
    expect((await readFleetState(world)).api).toEqual(before.api)
  })

  test('every row is unchanged, and so is the cache', async () => {
    const after = await readFleetState(world)
    expect(after.tables).toEqual(before.tables)
    expect(after.objects).toEqual(before.objects)
  })

  test('the only new events are the evidence of refusals', async () => {
    const after = await countEvents()
    const fresh = Object.keys(after).filter((type) => after[type] !== eventsBefore[type])
    expect(fresh.toSorted(byText)).toEqual(['cache.conflict', 'hook.refused', 'job.late_result'])
  })

  test('no answer was a fault of the server, and it is still healthy', async () => {
    expect(statuses.filter((status) => status >= 500)).toEqual([])
    expect(world.server.exitCode()).toBeNull()
    const health = await world.operator('GET', '/status', { token: null })
    expect(health).toMatchObject({ status: 200, body: { status: 'healthy', database: 'healthy' } })
  })

  test('its log holds no secret, no control character, and no line that it did not write', async () => {
    const log = await world.server.log()
    for (const secret of await secretTexts()) expect(log).not.toContain(secret)
    const lines = log.split('\n').slice(log.split('\n').findIndex((line) => line.includes('"ready"')))
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there
    expect(lines.filter((line) => /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/.test(line))).toEqual([])
    const parsed = lines
      .filter((line) => line !== '')
      .map((line): Record<string, unknown> => JSON.parse(line))
    expect(parsed.filter(({ program }) => program !== 'server')).toEqual([])
    expect(parsed.filter(({ level }) => level === 'error')).toEqual([])
  })
})

/** As an administrator runs it. */
async function apply(file: string): Promise<{ readonly code: number | null; readonly stderr: string }> {
  const { facts } = world.server
  const environment = { CF_SERVER: facts.url, CF_TOKEN_FILE: facts.adminTokenFile }
  const argv = [join(ROOT, 'cli/src/main.ts'), 'apply', '-f', file]
  const child = spawn(process.execPath, argv, { env: environment, stdio: ['ignore', 'ignore', 'pipe'] })
  const [stderr] = await Promise.all([text(child.stderr), once(child, 'exit')])
  return { code: child.exitCode, stderr }
}

function byText(left: string, right: string): number {
  return left < right ? -1 : 1
}

function expectProblem({ headers, body, status }: Answer, code: string): void {
  expect(body).toMatchObject({ code, status, type: `https://crystalforge.dev/problems/${code}` })
  expect(headers['content-type']).toBe('application/problem+json')
}

async function countEvents(): Promise<Record<string, number>> {
  const { rows } = await world.server.database.admin.query<{ type: string; count: number }>(
    'select type, count(*)::int as count from audit_event group by type',
  )
  return Object.fromEntries(rows.map(({ type, count }) => [type, count]))
}

/** What was sent as a secret, and what lies in the files of the server. */
async function secretTexts(): Promise<string[]> {
  const directory = dirname(world.server.facts.adminTokenFile)
  const files = await Promise.all(
    (await readdir(directory)).map(async (name) => (await readFile(join(directory, name), 'utf8')).trim()),
  )
  return [...world.secrets, ...files].map((text) => text.replace(/^(Bearer|sha256=|cf=)\s*/, ''))
}
