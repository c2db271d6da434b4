import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { generateKeyPair, keyId, renderSeed } from '@crystal-forge/protocol'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type ControlPlane, controlPlaneAt } from '../src/control-plane.ts'
import { endpointOf } from '../src/endpoint.ts'
import { type HostKeys, hostKeysIn } from '../src/host-keys.ts'
import { rotateKey } from '../src/rotate-key.ts'
import { postReport } from '../src/send-report.ts'
import { ControlPlaneStandIn } from './control-plane-stand-in.ts'
import { temporaryDirectory } from './prepared-tree.ts'

/** A host with its keys on disk and a control plane that knows its first one. */
type World = AsyncDisposable & {
  readonly server: ControlPlaneStandIn
  readonly controlPlane: ControlPlane
  readonly givenFile: string
  readonly directory: string
  readonly keys: HostKeys
}

async function makeWorld(): Promise<World> {
  const place = await temporaryDirectory()
  const server = new ControlPlaneStandIn()
  const controlPlane = await connectTo(server)
  const givenFile = path.join(place.path, 'host.key')
  const directory = path.join(place.path, 'state', 'keys')
  const world = { server, controlPlane, givenFile, directory, keys: hostKeysIn({ givenFile, directory }) }
  await give(world, generateKeyPair())
  return {
    ...world,
    async [Symbol.asyncDispose]() {
      controlPlane.close()
      await server[Symbol.asyncDispose]()
      await place[Symbol.asyncDispose]()
    },
  }
}

/** What an operator does: puts a key into the file, which the control plane is told of. */
async function give(
  { server, givenFile }: Pick<World, 'server' | 'givenFile'>,
  { seed, publicKey }: ReturnType<typeof generateKeyPair>,
): Promise<string> {
  await writeFile(givenFile, `${renderSeed(seed)}\n`, { mode: 0o600 })
  server.addKey(publicKey, 'web-1')
  return keyId(publicKey)
}

const never = new AbortController().signal
const rotate = ({ controlPlane }: World, keys: HostKeys) =>
  rotateKey({ controlPlane, keys, hostname: 'web-1' }, never)

/** Which candidates the control plane takes. */
async function known({ keys, server }: World): Promise<string[]> {
  return (await keys.candidates()).filter((key) => server.hasKey(key.keyId)).map(({ role }) => role)
}

type Crash = { readonly at: 'begin' | 'taken'; readonly when: 'before' | 'after' }
/** The same keys for a process that is killed before or after a step has reached the disk. */
function killedAt(keys: HostKeys, crash: Crash | null): HostKeys {
  const step = async <T>(at: Crash['at'], act: () => Promise<T>): Promise<T> => {
    if (crash?.at === at && crash.when === 'before') throw new Error('killed')
    const done = await act()
    if (crash?.at === at) throw new Error('killed')
    return done
  }
  return {
    candidates: () => keys.candidates(),
    begin: () => step('begin', () => keys.begin()),
    taken: (key) => step('taken', () => keys.taken(key)),
  }
}

let world: World
beforeEach(async () => {
  world = await makeWorld()
})
afterEach(async () => {
  expect(world.server.violations).toEqual([])
  await world[Symbol.asyncDispose]()
})

describe('a rotation that is killed', () => {
  const CRASHES: readonly (Crash | { readonly at: 'request'; readonly when: 'before' | 'after' })[] = (
    ['begin', 'request', 'taken'] as const
  ).flatMap((at) => (['before', 'after'] as const).map((when) => ({ at, when })))

  it.each(CRASHES)('%j locks nobody out, and the next one finishes it', async ({ at, when }) => {
    const given = await readFile(world.givenFile, 'utf8')
    if (at === 'request') world.server.faults.push({ when, how: 'hang-up' })
    const killed = at === 'request' ? null : { at, when }
    await rotate(world, killedAt(world.keys, killed)).catch(() => null)
    expect(await known(world)).toHaveLength(1)
    const outcome = await rotate(world, world.keys)
    expect(outcome.kind).toMatch(/^(done|already)$/)
    expect(await known(world)).toEqual(['rotated'])
    expect(await readFile(world.givenFile, 'utf8')).toBe(given)
    const [now] = await world.keys.candidates()
    expect(outcome).toMatchObject({ keyId: now.keyId, keyFile: now.file })
    expect((await stat(now.file)).mode & 0o777).toBe(0o600)
  })

  it('in the middle of writing the new key leaves what is no key', async () => {
    await world.keys.begin()
    const [place = ''] = await readdir(world.directory)
    const half = path.join(world.directory, place, `${'a'.repeat(43)}.pending.tmp`)
    await writeFile(half, 'AAAA')
    expect(await rotate(world, world.keys)).toMatchObject({ kind: 'done' })
    expect(await known(world)).toEqual(['rotated'])
  })
})

describe('the file of the operator', () => {
  it('means another key as soon as it holds one, and the rotated key again when it holds the old one', async () => {
    const old = await readFile(world.givenFile, 'utf8')
    await rotate(world, world.keys)
    const [rotated] = await world.keys.candidates()
    const other = await give(world, generateKeyPair())
    expect((await world.keys.candidates()).map((key) => [key.role, key.keyId])).toEqual([['given', other]])
    await rotate(world, world.keys)
    const [next] = await world.keys.candidates()
    expect([next.role, next.keyId === rotated.keyId]).toEqual(['rotated', false])
    await writeFile(world.givenFile, old)
    expect((await world.keys.candidates())[0]).toMatchObject({ role: 'rotated', keyId: rotated.keyId })
  })

  it('may hold the rotated key itself, which is how it is moved into a store of secrets', async () => {
    await rotate(world, world.keys)
    const [rotated] = await world.keys.candidates()
    await writeFile(world.givenFile, await readFile(rotated.file, 'utf8'))
    expect(await world.keys.candidates()).toMatchObject([{ role: 'given', keyId: rotated.keyId }])
    expect(await rotate(world, world.keys)).toMatchObject({ kind: 'done' })
    expect(await known(world)).toEqual(['rotated'])
  })

  it('is what a control plane knows that was set back, and the next rotation goes on from there', async () => {
    const [given] = await world.keys.candidates()
    await rotate(world, world.keys)
    const [rotated] = await world.keys.candidates()
    // The database of yesterday.
    const yesterday = new ControlPlaneStandIn()
    yesterday.addKey(given.publicKey, 'web-1')
    const back = { ...world, server: yesterday, controlPlane: await connectTo(yesterday) }
    expect(await known(back)).toEqual(['given'])
    expect(await rotate(back, world.keys)).toMatchObject({ kind: 'done' })
    expect(await known(back)).toEqual(['rotated'])
    expect((await world.keys.candidates())[0].keyId).not.toBe(rotated.keyId)
    back.controlPlane.close()
    await yesterday[Symbol.asyncDispose]()
  })

  it.each([
    ['holds something else', 'not a key\n', /is no key file; expected the base64 of 32 bytes/],
    ['is not there', null, /there is no key in .*host\.key; make one with "cf keygen"/],
  ])('that %s is said by its name, never by its content', async (_, content, message) => {
    const file = path.join(world.directory, '..', '..', content === null ? 'absent/host.key' : 'host.key')
    if (content !== null) await writeFile(file, content)
    const keys = hostKeysIn({ givenFile: path.normalize(file), directory: world.directory })
    await expect(keys.candidates()).rejects.toThrow(message)
    await expect(keys.candidates()).rejects.not.toThrow('not a key')
  })
})

it('two commands at once end with one key that is taken, and a third goes on', async () => {
  const both = await Promise.all([rotate(world, world.keys), rotate(world, world.keys)])
  expect(both.map(({ kind }) => kind).filter((kind) => kind !== 'refused').length).toBeGreaterThan(0)
  expect(await known(world)).toEqual(['rotated'])
  expect(await rotate(world, world.keys)).toMatchObject({ kind: 'done' })
  expect(await known(world)).toEqual(['rotated'])
})

it('a key that was taken unheard is found behind one that another command left', async () => {
  world.server.faults.push({ when: 'after', how: 'hang-up' })
  expect(await rotate(world, world.keys)).toMatchObject({ kind: 'unreachable' })
  const [place = ''] = await readdir(world.directory)
  const { seed, publicKey } = generateKeyPair()
  // Its name comes first.
  const left = path.join(world.directory, place, `-${keyId(publicKey).slice(9)}.pending`)
  await writeFile(left, `${renderSeed(seed)}\n`)
  expect(await rotate(world, world.keys)).toMatchObject({ kind: 'done', keyId: keyId(publicKey) })
  expect(await known(world)).toEqual(['rotated'])
})

it('whatever fails, and whatever the operator does, a report gets through', { timeout: 60_000 }, async () => {
  const act = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom('rotate', 'report', 'give') },
    fc.record({ at: fc.constantFrom('begin', 'taken'), when: fc.constantFrom('before', 'after') }),
    fc.record({ request: fc.constantFrom('before', 'after') }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(act, { maxLength: 8 }), async (acts) => {
      await using one = await makeWorld()
      for (const next of acts) {
        if (next === 'give') await give(one, generateKeyPair())
        else if (next === 'report') await report(one)
        else if (next === 'rotate') await rotate(one, one.keys)
        else if ('request' in next) {
          one.server.faults.push({ when: next.request, how: 'hang-up' })
          await rotate(one, one.keys)
          one.server.faults.length = 0
        } else await rotate(one, killedAt(one.keys, next as Crash)).catch(() => null)
        expect((await known(one)).length).toBeGreaterThan(0)
      }
      await report(one)
      expect(one.server.violations).toEqual([])
    }),
    { numRuns: 25 },
  )
})

/** As the sender of reports does it: the first key that is not refused. */
async function report({ keys, controlPlane, server }: World): Promise<void> {
  for (const key of await keys.candidates()) {
    const body = new TextEncoder().encode(
      JSON.stringify({
        v: 1,
        kind: 'heartbeat',
        report_id: `report-${generateKeyPair().publicKey.join('').slice(0, 40)}`,
        hostname: 'web-1',
        collected_at: new Date().toISOString(),
        state_digest: '0'.repeat(64),
      }),
    )
    const reply = await postReport(controlPlane, body, key, never)
    if (reply.kind === 'refusal' && reply.status === 401) continue
    expect(server.hasKey(key.keyId)).toBe(true)
    await keys.taken(key)
    return
  }
  throw new Error('no key was taken')
}

async function connectTo(server: ControlPlaneStandIn): Promise<ControlPlane> {
  const endpoint = endpointOf({
    serverUrl: await server.listen(),
    serverHost: null,
    serverPort: null,
    allowPlainHttp: false,
    authority: null,
  })
  if ('message' in endpoint) throw new Error(endpoint.message)
  return controlPlaneAt({ endpoint, ca: null, userAgent: 'test', now: () => new Date() })
}
