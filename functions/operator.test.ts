import { expect, test } from 'vitest'
import type { HttpRequest } from './http-api.ts'
import { recogniseOperator } from './operator.ts'

const nobody = async (): Promise<null> => null
const claims = {
  iss: 'https://idp.example.com',
  sub: 'u-1',
  cf_tenant: 't_1',
  cf_role: 'operator',
  email: 'ada@example.com',
}

function asking(route: string, more: Partial<HttpRequest>): HttpRequest {
  const [method = '', path = ''] = route.split(' ')
  return {
    route,
    method,
    path,
    rawQuery: '',
    parameters: {},
    headers: [],
    body: Buffer.alloc(0),
    requestId: 'r',
    sourceIp: '127.0.0.1',
    ...more,
  }
}

test('an operator may come with a JWT that the gateway has verified', async () => {
  const recognised = await recogniseOperator(asking('POST /v1/flakes', { claims }), nobody, new Date())
  expect(recognised).toEqual({
    ok: true,
    operator: {
      tenant: 't_1',
      token: 'oidc:u-1',
      name: 'ada@example.com',
      subject: 'https://idp.example.com#u-1',
      role: 'operator',
    },
  })
})

test('the role of a JWT is held against the route', async () => {
  const recognised = await recogniseOperator(asking('PUT /v1/fleet', { claims }), nobody, new Date())
  expect(recognised).toMatchObject({ ok: false, reply: { status: 403, body: { code: 'role_too_low' } } })
})

test.each([
  ['no tenant', { iss: 'https://idp.example.com', sub: 'u', cf_role: 'admin' }],
  ['no issuer', { ...claims, iss: undefined }],
  ['a tenant that is no id', { ...claims, cf_tenant: "t_1' or true" }],
  ['no role', { iss: 'https://idp.example.com', sub: 'u', cf_tenant: 't_1' }],
  ['a role of somebody else', { ...claims, cf_role: 'Admin' }],
  ['several roles in one claim', { ...claims, cf_role: '[viewer admin]' }],
  ['no subject', { iss: 'https://idp.example.com', cf_tenant: 't_1', cf_role: 'admin' }],
])('a JWT with %s is refused', async (_what, wrong) => {
  const recognised = await recogniseOperator(
    asking('GET /v1/systems', { claims: wrong as Record<string, string> }),
    nobody,
    new Date(),
  )
  expect(recognised).toMatchObject({ ok: false, reply: { status: 403, body: { code: 'claims_missing' } } })
})
