import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  jobDocument,
  keyId,
  nix32OfHash,
  parseStrictJson,
  publicKeyOfSeed,
  verifyJobDocument,
} from '@crystal-forge/protocol'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import * as z from 'zod'
import { ROUTES } from '../../functions/routes.ts'
import { createTestDatabase, type TestDatabase } from '../postgres/test-database.ts'
import {
  effectsOf,
  IDS,
  type Replay,
  recordedMessage,
  recordedPath,
  seedOf,
  startReplay,
} from './recorded-wire.ts'

const FOLDER = join(import.meta.dirname, '../fixtures/wire-0.3')
const read = (name: string): unknown => JSON.parse(readFileSync(join(FOLDER, name), 'utf8'))
const messages = z.array(recordedMessage).parse(read('messages.json'))

let database: TestDatabase
let replay: Replay
beforeAll(async () => {
  database = await createTestDatabase()
  replay = await startReplay(database)
  // The NARs that the recorded commit names; their content is what make.ts says.
  for (const name of ['glibc-2.40', 'nixos-system-build']) {
    const nar = Buffer.from(`the NAR of ${recordedPath(name)}`)
    const hash = nix32OfHash(`sha256-${createHash('sha256').update(nar).digest('base64')}`).slice(7)
    await replay.putNar(`${IDS.tenant}/nar/${hash}.nar.zst`, nar)
  }
})
afterAll(async () => {
  await replay?.close()
  await database?.drop()
})

describe('agents and builders of 0.3.0', () => {
  test('say something on every route that they have', () => {
    const theirs = ROUTES.filter(({ key }) => key.startsWith('POST /v1/'))
      .filter(({ caller }) => caller === 'agent' || caller === 'builder')
      .map(({ key }) => key)
    expect(new Set(messages.map(({ route }) => route))).toEqual(new Set(theirs))
  })

  test.each(messages)('are answered as ever: $name', async (message) => {
    const answer = await replay.send(message)
    expect(answer).toMatchObject(message.answer)
    if (answer.body['claimed'] === true)
      expect(documentIn(answer.body)).toMatchObject({ v: 1, fence: message.fence })
  })

  test('have everything that they said recorded as ever', async () => {
    expect(await effectsOf(database.admin)).toMatchObject(read('effects.json') as object)
  })

  test('cannot say any of it twice', async () => {
    const before = await effectsOf(database.admin)
    for (const message of messages) {
      const { status } = await replay.send({ ...message, fence: undefined })
      expect([401, 409]).toContain(status)
    }
    expect(await effectsOf(database.admin)).toEqual(before)
  })
})

/** The job as the builder reads it, which verifies the signature with the key that it pinned. */
function documentIn(answer: Record<string, unknown>): unknown {
  const publicKey = publicKeyOfSeed(seedOf('job'))
  const trusted = { keyId: keyId(publicKey), publicKey, role: 'job', person: 'job' }
  const verified = verifyJobDocument(answer['document'], [trusted])
  if (!verified.ok) throw new Error(verified.code)
  return jobDocument.parse(parseStrictJson(verified.payload))
}
