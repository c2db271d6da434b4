import { parseSignedBody, parseStrictJson } from '@crystal-forge/protocol'
import { expect, it } from 'vitest'
import * as z from 'zod'
import { problem } from './http-api.ts'

it('a refusal repeats the beginning of what was sent, however long that is', () => {
  const sent = new TextEncoder().encode(JSON.stringify({ ['x'.repeat(900_000)]: 1 }))
  const refused = parseSignedBody(sent, z.strictObject({}))
  if (refused.ok) throw new Error('the schema knows no member')
  const { body } = problem(refused.status, refused.code, refused.detail)
  expect(JSON.stringify(body).length).toBeLessThan(5_000)
  expect(body).toMatchObject({ detail: expect.stringMatching(/^the body: Unrecognized key: "x+ …$/) })
})

it('a refusal is cut between characters, so that strict JSON reads it', () => {
  for (const before of ['', 'x']) {
    const words = before + '\u{1f600}'.repeat(4_000)
    const { body } = problem(422, 'invalid_body', words, { errors: [{ path: words, message: words }] })
    expect(parseStrictJson(new TextEncoder().encode(JSON.stringify(body)))).toEqual(body)
  }
})

it('a refusal of a usual length stands as it is', () => {
  const errors = [{ path: 'a.b', message: 'a.b is missing' }]
  expect(problem(422, 'invalid_body', 'a.b is missing', { errors })).toMatchObject({
    status: 422,
    body: { detail: 'a.b is missing', errors, code: 'invalid_body' },
  })
})
