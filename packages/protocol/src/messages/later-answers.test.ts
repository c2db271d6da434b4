import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type * as z from 'zod'
import { reportAnswer } from './agent.ts'
import { builderHelloAnswer, cacheMissingAnswer, claimAnswer, jobHeartbeatAnswer } from './builder.ts'
import { problem } from './problem.ts'
import { readControlFactsAnswer, readProblem, readReportAnswer } from './read-answers.ts'

// An agent or a builder stays where it is while the control plane is upgraded: it has to understand what a later one
// answers. What such an answer may bring is members that were not there before, anywhere but inside of a signed payload.

const envelope = { payloadType: 'application/x', payload: 'e30=', signatures: [{ keyid: 'k', sig: 's' }] }
const server_time = '2026-11-22T19:30:00.000Z'
const queues = { resolve: 'https://q/1', evaluate: 'https://q/2', build: 'https://q/3', scan: 'https://q/4' }

type Read = (value: unknown) => unknown
const bySchema =
  (schema: z.ZodType): Read =>
  (value) =>
    schema.safeParse(value).data ?? null

const ANSWERS: readonly (readonly [string, Read, object, readonly string[]])[] = [
  [
    'a report, as the agent reads it',
    readReportAnswer,
    { next_report_in_s: 600, server_time, deployment: envelope },
    ['deployment.signatures.0.keyid'],
  ],
  [
    'a report, as it is defined',
    bySchema(reportAnswer),
    { next_report_in_s: 600, server_time, deployment: envelope },
    ['deployment.signatures.0.keyid'],
  ],
  ['control facts', readControlFactsAnswer, { server_time }, []],
  [
    'what is refused, as the agent reads it',
    readProblem,
    { type: 't', title: 't', status: 409, code: 'c', detail: 'd', server_time },
    ['detail', 'server_time'],
  ],
  [
    'what is refused, as the builder reads it',
    (value) => {
      const { type, title, status, code, detail } = problem.safeParse(value).data ?? {}
      return code === undefined ? null : { type, title, status, code, detail }
    },
    { type: 't', title: 't', status: 409, code: 'c', detail: 'd' },
    ['detail'],
  ],
  [
    'hello',
    bySchema(builderHelloAnswer),
    {
      builder: 'b',
      name: 'n',
      queues,
      cache: { bucket: 'b', prefix: 't', region: 'r' },
      lease_s: 60,
      server_time,
    },
    [],
  ],
  [
    'a claim',
    bySchema(claimAnswer),
    { claimed: true, job: 'j', kind: 'build', attempt: 1, fence: 1, lease_s: 60, document: envelope },
    ['document.signatures.0.keyid'],
  ],
  [
    'a claim that got nothing',
    bySchema(claimAnswer),
    { claimed: false, because: 'not-yet', retry_in_s: 5 },
    ['retry_in_s'],
  ],
  ['a heartbeat of a job', bySchema(jobHeartbeatAnswer), { lease_s: 60, cancel: false }, []],
  ['what is missing in the cache', bySchema(cacheMissingAnswer), { missing: ['/nix/store/x'] }, []],
]

describe.each(ANSWERS)('the answer to %s', (_, read, answer, optional) => {
  test('means the same with members that were not there before, wherever they are', () => {
    expect(read(answer)).toEqual(answer)
    const places = objectsIn(answer)
    fc.assert(
      fc.property(
        fc.subarray(places, { minLength: 1 }),
        fc.string({ minLength: 1, maxLength: 20 }).map((name) => `later_${name}`),
        fc.jsonValue(),
        (chosen, name, value) => {
          const later = structuredClone(answer)
          for (const place of chosen) Object.assign(at(later, place) as object, { [name]: value })
          expect(read(later)).toEqual(answer)
        },
      ),
    )
  })

  test('is none without a member that it must have, or with one that is something else', () => {
    for (const place of membersIn(answer)) {
      const missing = structuredClone(answer)
      const parent = at(missing, place.slice(0, -1)) as Record<string, unknown>
      const name = place.at(-1) ?? ''
      delete parent[name]
      if (!optional.includes(place.join('.'))) expect([place, read(missing)]).toEqual([place, null])
      if (place.join('.') === 'server_time' && optional.includes('server_time')) continue
      parent[name] = Symbol.for('neither text nor number')
      expect([place, read(missing)]).toEqual([place, null])
    }
  })
})

/** Paths of all objects in a value, itself included. */
function objectsIn(value: unknown, path: readonly string[] = []): (readonly string[])[] {
  if (typeof value !== 'object' || value === null) return []
  const inside = Object.entries(value).flatMap(([name, part]) => objectsIn(part, [...path, name]))
  return Array.isArray(value) ? inside : [path, ...inside]
}

/** Paths of all members of all objects in a value. */
function membersIn(value: object): (readonly string[])[] {
  return objectsIn(value).flatMap((path) =>
    Object.keys(at(value, path) as object).map((name) => [...path, name]),
  )
}

function at(value: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>((part, name) => Reflect.get(part as object, name), value)
}
