import { type AgentReport, looksLikeReport, stateDigest } from '@crystal-forge/protocol'
import type { ReportFiles } from './report-files.ts'
import { type SpoolLimits, shed, type Waiting } from './shed.ts'

/** A report that waits, as it was written: it is sent with these bytes and this id until the control plane has answered. */
export type Spooled = Waiting & { readonly name: string }
export type Head = { readonly entry: Spooled; readonly report: AgentReport; readonly body: Uint8Array }
/** Facts of controls that wait; their content is nobody's business here. */
export type FactsHead = { readonly entry: Spooled; readonly body: Uint8Array }
export type Dropped = { readonly states: number; readonly heartbeats: number; readonly facts: number }

/**
 * Reports in the order in which they were made, one file each, durable against loss of power and bounded by size and age.
 * One owner at a time. An operation that rejects has happened or not; either way the spool stays usable, because it reads its directory
 * again before the next one.
 */
export type Spool = {
  /** Durable when it resolves. Answers what had to go to make room. */
  append(report: AgentReport): Promise<Dropped>
  appendFacts(body: Uint8Array): Promise<Dropped>
  /** The oldest facts. */
  factsHead(): Promise<FactsHead | null>
  /** The oldest report; what cannot be read is quarantined on the way. */
  head(): Promise<Head | null>
  /** The newest state that waits. */
  newestState(): Promise<AgentReport | null>
  /** Takes a report out that was answered. */
  remove(entry: Spooled): Promise<void>
  /** Puts a report aside that can never be accepted; the newest few of them are kept for a person to look at. */
  quarantine(entry: Spooled): Promise<void>
  length(): Promise<number>
}

export function openSpool(options: {
  readonly files: ReportFiles
  readonly limits: SpoolLimits
  readonly now: () => Date
  /** Told when a file is set aside because it cannot be read. */
  readonly onCorrupt: (name: string) => void
}): Spool {
  const { files, limits, now } = options
  let index: Spooled[] | null = null
  let next = 1

  /** What was begun may have taken effect: forget the index until it is over. */
  const changing = async <T>(change: (entries: Spooled[]) => Promise<T>): Promise<T> => {
    const entries = await load()
    index = null
    const result = await change(entries)
    index = entries
    return result
  }
  const load = async (): Promise<Spooled[]> => {
    if (index !== null) return index
    const found = await readIndex(files, options.onCorrupt)
    next = Math.max(next, found.highest + 1)
    index = found.entries
    return index
  }
  const setAside = async (entries: Spooled[], entry: Spooled) => {
    await files.moveToQuarantine(entry.name)
    drop(entries, entry)
    await trimQuarantine(files)
  }
  const firstReadable = async (order: (entries: Spooled[]) => Spooled | undefined): Promise<Head | null> => {
    for (let failures = 0; ; ) {
      const entry = order(await load())
      if (entry === undefined) return null
      let head: Head | null
      try {
        head = await readReport(files, entry)
      } catch (error) {
        // The file may have gone; the directory knows.
        index = null
        if (++failures > 1) throw error
        continue
      }
      if (head !== null) return head
      options.onCorrupt(entry.name)
      await changing((entries) => setAside(entries, entry))
    }
  }

  const append = (kind: Waiting['kind'], body: Uint8Array): Promise<Dropped> =>
    changing(async (entries) => {
      const entry = { sequence: next++, kind, bytes: body.length, at: now().getTime() }
      const name = fileName(entry)
      await files.write(name, body)
      entries.push({ ...entry, name })
      const gone = shed(entries, limits, entry.at)
      for (const one of gone) {
        await files.remove('spool', one.name)
        drop(entries, one)
      }
      return countDropped(gone)
    })

  return {
    append: (report) => append(report.kind, new TextEncoder().encode(JSON.stringify(report))),
    appendFacts: (body) => append('facts', body),
    head: () => firstReadable((entries) => entries.find((one) => one.kind !== 'facts')),
    async factsHead() {
      const entry = (await load()).find((one) => one.kind === 'facts')
      // Whatever comes of reading it, the directory is looked at again afterwards.
      index = null
      return entry === undefined ? null : { entry, body: await files.read(entry.name) }
    },
    newestState: async () =>
      (await firstReadable((entries) => entries.findLast((one) => one.kind === 'state')))?.report ?? null,
    remove: (entry) =>
      changing(async (entries) => {
        await files.remove('spool', entry.name)
        drop(entries, entry)
      }),
    quarantine: (entry) => changing((entries) => setAside(entries, entry)),
    length: async () => (await load()).length,
  }
}

async function readReport(files: ReportFiles, entry: Spooled): Promise<Head | null> {
  const body = await files.read(entry.name)
  const report = parseReport(body)
  return report === null ? null : { entry, report, body }
}

function countDropped(gone: readonly Spooled[]): Dropped {
  const count = (kind: Waiting['kind']) => gone.filter((one) => one.kind === kind).length
  return { states: count('state'), heartbeats: count('heartbeat'), facts: count('facts') }
}

async function readIndex(
  files: ReportFiles,
  onCorrupt: (name: string) => void,
): Promise<{ entries: Spooled[]; highest: number }> {
  const entries: Spooled[] = []
  let highest = 0
  for (const { name, bytes } of await files.list('spool')) {
    const entry = parseFileName(name)
    if (entry === null) {
      onCorrupt(name)
      await files.moveToQuarantine(name)
      continue
    }
    highest = Math.max(highest, entry.sequence)
    entries.push({ ...entry, name, bytes })
  }
  for (const { name } of await files.list('quarantine')) {
    highest = Math.max(highest, parseFileName(name)?.sequence ?? 0)
  }
  return { entries, highest }
}

/** The oldest go; names begin with the sequence, so they sort by age. */
async function trimQuarantine(files: ReportFiles): Promise<void> {
  const kept = await files.list('quarantine')
  for (const { name } of kept.slice(0, Math.max(0, kept.length - QUARANTINED_MAX))) {
    await files.remove('quarantine', name)
  }
}

function drop(entries: Spooled[], entry: Spooled): void {
  const at = entries.findIndex((one) => one.name === entry.name)
  if (at >= 0) entries.splice(at, 1)
}

function parseReport(body: Uint8Array): AgentReport | null {
  try {
    const report: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body))
    if (!looksLikeReport(report)) return null
    // A state that has no digest cannot be stood for by a heartbeat.
    if (report.kind === 'state') stateDigest(report)
    return report
  } catch {
    return null
  }
}

/** `<sequence>-<kind>-<milliseconds>.json`: order, kind and age are known without opening the file. */
function fileName(entry: Waiting): string {
  return `${String(entry.sequence).padStart(12, '0')}-${entry.kind}-${entry.at}.json`
}

function parseFileName(name: string): Omit<Waiting, 'bytes'> | null {
  const [, sequence, kind, at] = /^([0-9]{12})-(state|heartbeat|facts)-([0-9]{1,15})\.json$/.exec(name) ?? []
  if (sequence === undefined || (kind !== 'state' && kind !== 'heartbeat' && kind !== 'facts')) return null
  return { sequence: Number(sequence), kind, at: Number(at) }
}

/** Enough to see a pattern, too few to fill a disk. */
const QUARANTINED_MAX = 32
