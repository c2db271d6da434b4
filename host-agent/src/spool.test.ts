import type { AgentReport } from '@crystal-forge/protocol'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { InjectedFailure, memoryReportFiles } from '../test/memory-report-files.ts'
import { shed, type Waiting } from './shed.ts'
import { openSpool, type Spool } from './spool.ts'

const BLOCK = 4096

function reportOf(kind: 'state' | 'heartbeat', number: number): AgentReport {
  const common = {
    v: 1 as const,
    report_id: `report-${String(number).padStart(12, '0')}`,
    hostname: 'web-1',
    collected_at: '2026-11-22T19:00:00Z',
  }
  return kind === 'heartbeat'
    ? { ...common, kind, state_digest: 'a'.repeat(64) }
    : { ...common, kind, change_reason: 'startup', store_path: `/nix/store/${'a'.repeat(32)}-system` }
}

type Files = ReturnType<typeof memoryReportFiles>

function open(files: Files, options: { blocks?: number; ageMaxMs?: number; now?: () => Date } = {}) {
  const corrupt: string[] = []
  const spool = openSpool({
    files,
    limits: { bytesMax: (options.blocks ?? 1000) * BLOCK, ageMaxMs: options.ageMaxMs ?? 1e9 },
    now: options.now ?? (() => new Date(1e12)),
    onCorrupt: (name) => corrupt.push(name),
  })
  return { spool, corrupt }
}

async function drain(spool: Spool): Promise<string[]> {
  const ids: string[] = []
  for (let head = await spool.head(); head !== null; head = await spool.head()) {
    ids.push(head.report.report_id)
    await spool.remove(head.entry)
  }
  return ids
}

function idsIn(files: Files): string[] {
  return [...files.places.spool]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([, content]): string => JSON.parse(new TextDecoder().decode(content)).report_id)
}

describe('the spool', () => {
  it('keeps order and bytes over a restart', async () => {
    const files = memoryReportFiles()
    const first = open(files).spool
    const reports = [reportOf('state', 1), reportOf('heartbeat', 2), reportOf('heartbeat', 3)]
    for (const report of reports) await first.append(report)
    const second = open(files).spool
    expect(new TextDecoder().decode((await second.head())?.body)).toBe(JSON.stringify(reports[0]))
    expect(await second.length()).toBe(3)
    await second.append(reportOf('state', 4))
    expect((await second.newestState())?.report_id).toBe('report-000000000004')
    expect(await drain(second)).toEqual([1, 2, 3, 4].map((number) => `report-00000000000${number}`))
  })

  it('drops the oldest heartbeats first, says how many, and keeps states', async () => {
    const files = memoryReportFiles()
    const { spool } = open(files, { blocks: 3 })
    await spool.append(reportOf('state', 1))
    await spool.append(reportOf('heartbeat', 2))
    await spool.append(reportOf('heartbeat', 3))
    expect(await spool.append(reportOf('state', 4))).toEqual({ states: 0, heartbeats: 1, facts: 0 })
    expect(await spool.append(reportOf('state', 5))).toEqual({ states: 0, heartbeats: 1, facts: 0 })
    expect(await spool.append(reportOf('state', 6))).toEqual({ states: 1, heartbeats: 0, facts: 0 })
    expect(await drain(spool)).toEqual(['report-000000000004', 'report-000000000005', 'report-000000000006'])
  })

  it('keeps facts apart from reports, and drops them after heartbeats and before states', async () => {
    const files = memoryReportFiles()
    const { spool } = open(files, { blocks: 4 })
    const facts = (text: string) => new TextEncoder().encode(text)
    await spool.appendFacts(facts('one'))
    await spool.append(reportOf('state', 1))
    await spool.appendFacts(facts('two'))
    await spool.append(reportOf('heartbeat', 2))
    expect((await spool.head())?.report.report_id).toBe('report-000000000001')
    expect(new TextDecoder().decode((await open(files, { blocks: 4 }).spool.factsHead())?.body)).toBe('one')
    expect(await spool.append(reportOf('state', 3))).toEqual({ states: 0, heartbeats: 1, facts: 0 })
    expect(await spool.append(reportOf('state', 4))).toEqual({ states: 0, heartbeats: 0, facts: 1 })
    const head = await spool.factsHead()
    expect(new TextDecoder().decode(head?.body)).toBe('two')
    if (head !== null) await spool.remove(head.entry)
    expect(await spool.factsHead()).toBeNull()
    expect(await drain(spool)).toHaveLength(3)
  })

  it('drops what is too old, but for the newest state', async () => {
    let now = 1e12
    const { spool } = open(memoryReportFiles(), { ageMaxMs: 1000, now: () => new Date(now) })
    await spool.append(reportOf('state', 1))
    await spool.append(reportOf('state', 2))
    await spool.append(reportOf('heartbeat', 3))
    now += 1001
    expect(await spool.append(reportOf('heartbeat', 4))).toEqual({ states: 1, heartbeats: 1, facts: 0 })
    expect(await drain(spool)).toEqual(['report-000000000002', 'report-000000000004'])
  })

  it.each<[string, string, Uint8Array]>([
    ['half a report', '000000000001-state-1000000000000.json', new TextEncoder().encode('{"v":1,')],
    ['bytes that are no text', '000000000001-state-1000000000000.json', new Uint8Array([0xff, 0xfe])],
    ['nothing', '000000000001-heartbeat-1000000000000.json', new Uint8Array()],
    ['a report that is none', '000000000001-state-1000000000000.json', new TextEncoder().encode('{"v":9}')],
    ['a name that it never wrote', 'notes.txt', new TextEncoder().encode('hello')],
  ])('sets aside %s and goes on', async (_, name, content) => {
    const files = memoryReportFiles()
    files.places.spool.set(name, content)
    const { spool, corrupt } = open(files)
    await spool.append(reportOf('state', 2))
    expect(await drain(spool)).toEqual(['report-000000000002'])
    expect(corrupt).toEqual([name])
    expect([...files.places.quarantine.keys()]).toEqual([name])
  })

  it('goes on when somebody else has removed a file', async () => {
    const files = memoryReportFiles()
    const { spool } = open(files)
    await spool.append(reportOf('state', 1))
    await spool.append(reportOf('state', 2))
    const [first = ''] = files.places.spool.keys()
    files.places.spool.delete(first)
    expect(await drain(spool)).toEqual(['report-000000000002'])
  })

  it('keeps a bounded number of reports in quarantine, the newest', async () => {
    const files = memoryReportFiles()
    const { spool } = open(files)
    for (let number = 1; number <= 40; number++) {
      await spool.append(reportOf('heartbeat', number))
      const head = await spool.head()
      if (head !== null) await spool.quarantine(head.entry)
    }
    const kept = (await files.list('quarantine')).map((file) => file.name)
    expect(kept).toHaveLength(32)
    expect(kept[0]).toMatch(/^000000000009-/)
  })
})

type Action =
  | { readonly kind: 'append'; readonly report: 'state' | 'heartbeat' }
  | { readonly kind: 'remove' | 'quarantine' | 'restart' }
  | { readonly kind: 'later'; readonly ms: number }
type Failing = {
  readonly action: Action
  readonly failure: Files['fail']
  readonly crash: boolean
}

const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.constantFrom<Action>(
      { kind: 'append', report: 'state' },
      { kind: 'append', report: 'heartbeat' },
    ),
  },
  {
    weight: 3,
    arbitrary: fc.constantFrom<Action>({ kind: 'remove' }, { kind: 'quarantine' }, { kind: 'restart' }),
  },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 700 }).map((ms): Action => ({ kind: 'later', ms })) },
)
const failing: fc.Arbitrary<Failing> = fc.record({
  action,
  failure: fc.option(fc.record({ when: fc.constantFrom('before', 'after'), skip: fc.nat({ max: 2 }) })),
  crash: fc.boolean(),
})

describe('the spool under failures', () => {
  it('loses nothing, doubles nothing and keeps order, whatever fails before or after it took effect', async () => {
    await fc.assert(fc.asyncProperty(fc.array(failing, { maxLength: 60 }), runActions), { numRuns: 300 })
  })
})

/** Carries out actions and audits the files after each. A failed action has happened or not; nothing else may be true. */
async function runActions(actions: readonly Failing[]): Promise<void> {
  const files = memoryReportFiles()
  let clock = 1e12
  const options = { blocks: 6, ageMaxMs: 1000, now: () => new Date(clock) }
  let { spool } = open(files, options)
  let number = 0
  const times = new Map<string, Waiting>()

  for (const { action: one, failure, crash } of actions) {
    const before = idsIn(files)
    let whole = before
    let failed = false
    let dropped = { states: 0, heartbeats: 0, facts: 0 }
    files.fail = failure === null ? null : { ...failure }
    try {
      switch (one.kind) {
        case 'append': {
          const report = reportOf(one.report, ++number)
          times.set(report.report_id, { sequence: number, kind: one.report, bytes: 1, at: clock })
          whole = [...before, report.report_id]
          dropped = await spool.append(report)
          break
        }
        case 'remove':
        case 'quarantine': {
          const head = await spool.head()
          expect(head?.report.report_id).toBe(before[0])
          whole = before.slice(1)
          if (head !== null) await spool[one.kind](head.entry)
          break
        }
        case 'later':
          clock += one.ms
          break
        case 'restart':
          spool = open(files, options).spool
          break
      }
    } catch (error) {
      if (!(error instanceof InjectedFailure)) throw error
      failed = true
      if (crash) spool = open(files, options).spool
    }
    files.fail = null
    const waiting = whole.flatMap((id) => times.get(id) ?? [])
    const plan = one.kind === 'append' ? shed(waiting, { bytesMax: 6 * BLOCK, ageMaxMs: 1000 }, clock) : []
    const outcomes = plan.map((_, count) => withoutFirst(whole, times, plan.slice(0, count)))
    const done = withoutFirst(whole, times, plan)
    expect(failed ? [before, ...outcomes, done] : [done]).toContainEqual(idsIn(files))
    if (!failed) expect(dropped.states + dropped.heartbeats).toBe(plan.length)
    expect(await spool.length()).toBe(files.places.spool.size)
  }
  const left = idsIn(files)
  expect(await drain(spool)).toEqual(left)
}

function withoutFirst(
  ids: string[],
  times: ReadonlyMap<string, Waiting>,
  gone: readonly Waiting[],
): string[] {
  return ids.filter((id) => !gone.some((one) => one === times.get(id)))
}

describe('what must go when the spool is full', () => {
  const waiting = fc
    .array(
      fc.record({
        kind: fc.constantFrom('state' as const, 'heartbeat' as const),
        bytes: fc.integer({ min: 0, max: 9000 }),
        at: fc.integer({ min: 0, max: 2000 }),
      }),
      { maxLength: 30 },
    )
    .map((list) => list.map((one, sequence): Waiting => ({ ...one, sequence })))

  it('leaves what fits, never drops the newest state, nor a young state while a heartbeat remains', () => {
    fc.assert(
      fc.property(waiting, fc.integer({ min: 0, max: 60_000 }), (all, bytesMax) => {
        const gone = new Set(shed(all, { bytesMax, ageMaxMs: 1000 }, 2000))
        const kept = all.filter((one) => !gone.has(one))
        const newestState = all.findLast((one) => one.kind === 'state')
        const onDisk = kept.reduce((sum, one) => sum + Math.ceil(one.bytes / BLOCK) * BLOCK, 0)
        expect(onDisk <= bytesMax || kept.every((one) => one === newestState)).toBe(true)
        expect(newestState === undefined || kept.includes(newestState)).toBe(true)
        expect(kept.every((one) => one === newestState || 2000 - one.at <= 1000)).toBe(true)
        const youngStateGone = [...gone].some((one) => one.kind === 'state' && 2000 - one.at <= 1000)
        const heartbeatKept = kept.some((one) => one.kind === 'heartbeat' && one.bytes > 0)
        expect(youngStateGone && heartbeatKept).toBe(false)
      }),
    )
  })
})
