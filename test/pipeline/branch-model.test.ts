import { inTransaction } from '@crystal-forge/postgres'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { recordResolved } from '../../packages/postgres/src/commits.ts'
import { createWorld, rev, type World } from './world.ts'

let world: World
let pool: ReturnType<World['database']['poolFor']>

beforeAll(async () => {
  world = await createWorld()
  pool = world.database.poolFor('cf_builders')
})
afterAll(() => world.close())

/** What somebody does to a branch between two looks at it: put it anywhere (`onto`: a commit ever made, or before all), then commit. */
type Push = { readonly onto: number | 'head' | 'root'; readonly fresh: number }

const push: fc.Arbitrary<Push> = fc.record({
  onto: fc.oneof(
    { weight: 4, arbitrary: fc.constant('head' as const) },
    { weight: 3, arbitrary: fc.nat() },
    { weight: 1, arbitrary: fc.constant('root' as const) },
  ),
  fresh: fc.nat(3),
})

test('whatever is pushed, the commits on the branch are those of the branch, in its order', async () => {
  let flakes = 0
  await fc.assert(
    fc.asyncProperty(fc.array(push, { minLength: 1, maxLength: 8 }), async (pushes) => {
      const name = `flake-${flakes++}`
      const flake = await world.addFlake(name)
      const parents = new Map<string, string | undefined>()
      let head: string | undefined
      for (const { onto, fresh } of pushes) {
        if (onto === 'root') head = undefined
        else if (onto !== 'head' && parents.size > 0) head = [...parents.keys()][onto % parents.size]
        for (let n = 0; n < fresh; n++) {
          const made = `${name}/${parents.size}`
          parents.set(made, head)
          head = made
        }
        if (head === undefined) continue
        const branch = chainOf(head, parents)
        await look(flake, branch)
        await audit(flake, branch)
      }
    }),
    { numRuns: 40 },
  )
})

function chainOf(head: string, parents: ReadonlyMap<string, string | undefined>): string[] {
  const chain: string[] = []
  for (let at: string | undefined = head; at !== undefined; at = parents.get(at)) chain.unshift(at)
  return chain
}

/** Reads the branch as the builder does: back from the head to the newest commit that is known. */
async function look(flake: string, branch: readonly string[]): Promise<void> {
  const known = (
    await world.rows('select subject from commit where flake_id = $1 and on_branch order by position desc', [
      flake,
    ])
  ).map((row) => String(row['subject']))
  const base = known.find((word) => branch.includes(word))
  const fresh = branch.slice(base === undefined ? 0 : branch.indexOf(base) + 1)
  const found = {
    kind: 'resolve' as const,
    commits: fresh.map((word) => ({ rev: rev(word), committed_at: '2026-01-01T00:00:00Z', subject: word })),
    head: rev(branch.at(-1) ?? ''),
    continues: known.length === 0 || base !== undefined,
    ...(base === undefined ? {} : { base: rev(base) }),
  }
  await inTransaction(pool, { tenant: world.tenant }, (transaction) =>
    recordResolved(transaction, { flake, found, actor: { kind: 'builder' } }),
  )
}

async function audit(flake: string, branch: readonly string[]): Promise<void> {
  const rows = await world.rows(
    'select subject, on_branch, state from commit where flake_id = $1 order by position',
    [flake],
  )
  expect(rows.filter((row) => row['on_branch']).map((row) => row['subject'])).toEqual(branch)
  const jobs = `select count(*) from job j join commit c on c.id = j.subject where c.flake_id = $1 and j.kind = 'evaluate'`
  // Each commit is evaluated once, however often it comes and goes.
  expect(await world.rows(jobs, [flake])).toEqual([{ count: rows.length }])
}
