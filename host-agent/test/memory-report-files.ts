import type { Place, ReportFiles } from '../src/report-files.ts'

/** A crash of the process or a failing disk: nothing after it happens. */
export class InjectedFailure extends Error {}

/**
 * The port in memory, with state that outlives the spool. `fail` makes a coming change fail, after `skip` that succeed, before it
 * happened or after it took effect; an impossible change fails the test.
 */
export function memoryReportFiles(): ReportFiles & {
  readonly places: Readonly<Record<Place, Map<string, Uint8Array>>>
  fail: { when: 'before' | 'after'; skip: number } | null
} {
  const places = { spool: new Map<string, Uint8Array>(), quarantine: new Map<string, Uint8Array>() }
  const change = (act: () => void) => {
    const failure = fake.fail !== null && fake.fail.skip-- === 0 ? fake.fail.when : null
    if (failure === 'before') throw new InjectedFailure('before it happened')
    act()
    if (failure === 'after') throw new InjectedFailure('after it took effect')
  }
  const present = (name: string): Uint8Array => {
    const content = places.spool.get(name)
    if (content === undefined) throw new Error(`illegal use: ${name} is not in the spool`)
    return content
  }
  const fake: ReturnType<typeof memoryReportFiles> = {
    places,
    fail: null,
    async list(place) {
      return [...places[place]]
        .map(([name, content]) => ({ name, bytes: content.length }))
        .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    },
    read: async (name) => present(name),
    async write(name, content) {
      if (places.spool.has(name)) throw new Error(`illegal use: ${name} is written twice`)
      change(() => places.spool.set(name, content))
    },
    async remove(place, name) {
      change(() => places[place].delete(name))
    },
    async moveToQuarantine(name) {
      const content = present(name)
      change(() => {
        places.spool.delete(name)
        places.quarantine.set(name, content)
      })
    },
  }
  return fake
}
