import { mkdir, rename } from 'node:fs/promises'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type PreparedTree, preparedTree, SYSTEM_A, SYSTEM_B } from '../test/prepared-tree.ts'
import type { SystemPaths } from './collectors/system-paths.ts'
import { rootedTree } from './rooted-tree.ts'
import { watchSystemPaths } from './watch.ts'

let tree: PreparedTree
let stop: AbortController
beforeEach(async () => {
  tree = await preparedTree()
  stop = new AbortController()
})
afterEach(async () => {
  stop.abort()
  await tree[Symbol.asyncDispose]()
})

/** Starts a watch and resolves calls with what it told, in order. */
function watching(options: { debounceMs?: number; pollMs?: number } = {}) {
  const told: SystemPaths[][] = []
  let wake = () => {}
  watchSystemPaths(
    {
      tree: rootedTree(tree.root),
      onChange: (seen) => {
        told.push([...seen])
        wake()
      },
      log: () => {},
      ...options,
    },
    stop.signal,
  )
  return {
    async next(): Promise<SystemPaths[]> {
      while (told.length === 0) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
      return told.shift() ?? []
    },
    told,
  }
}

describe('the watch', () => {
  it('tells a switch, which replaces the link', async () => {
    const watch = watching({ pollMs: 1e6 })
    await tree.link('run/current-system', SYSTEM_B)
    expect((await watch.next()).at(-1)).toMatchObject({ current: SYSTEM_B, booted: SYSTEM_A })
  })

  it('tells a new generation of the profile', async () => {
    const watch = watching({ pollMs: 1e6 })
    await tree.link('nix/var/nix/profiles/system-2-link', SYSTEM_B)
    await tree.link('nix/var/nix/profiles/system', 'system-2-link')
    expect((await watch.next()).at(-1)).toMatchObject({ profile: SYSTEM_B, generation: 2 })
  })

  it('tells a system that ran for a moment', async () => {
    const watch = watching({ pollMs: 1e6, debounceMs: 300 })
    // Each link is left until the event about it has been read.
    await tree.link('run/current-system', SYSTEM_B)
    await eventLoopTurns()
    await tree.link('run/current-system', SYSTEM_A)
    const seen = [...(await watch.next())]
    while (seen.at(-1)?.current !== SYSTEM_A) seen.push(...(await watch.next()))
    expect(seen.map((one) => one.current)).toEqual([SYSTEM_B, SYSTEM_A])
  })

  it('says nothing when a link is swapped for itself or another file changes', async () => {
    const watch = watching({ pollMs: 1e6, debounceMs: 1 })
    await tree.link('run/current-system', SYSTEM_A)
    await tree.write('run/other', '')
    await eventLoopTurns()
    await tree.link('run/booted-system', SYSTEM_B)
    expect(await watch.next()).toHaveLength(1)
    expect(watch.told).toEqual([])
  })

  it('finds a directory that was replaced, and watches the new one', async () => {
    const watch = watching({ pollMs: 20, debounceMs: 1 })
    await rename(path.join(tree.root, 'run'), path.join(tree.root, 'old-run'))
    await mkdir(path.join(tree.root, 'run'))
    await tree.link('run/current-system', SYSTEM_B)
    for (let seen: SystemPaths | undefined; seen?.current !== SYSTEM_B; ) seen = (await watch.next()).at(-1)
    await tree.link('run/current-system', SYSTEM_A)
    expect((await watch.next()).at(-1)).toMatchObject({ current: SYSTEM_A })
  })

  it('waits for a directory that is not there yet', async () => {
    await rename(path.join(tree.root, 'nix'), path.join(tree.root, 'later'))
    const watch = watching({ pollMs: 20, debounceMs: 1 })
    await rename(path.join(tree.root, 'later'), path.join(tree.root, 'nix'))
    expect((await watch.next()).at(-1)).toMatchObject({ generation: 1 })
  })
})

/** Lets the events that the kernel has queued be read: they are there before the call that caused them returns. */
async function eventLoopTurns(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve))
}
