import type { APIGatewayProxyEventV2, Context } from 'aws-lambda'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { type Answer, type OperatorWorld, operatorWorld } from './world.ts'

let world: OperatorWorld
beforeAll(async () => {
  world = await operatorWorld()
  const systems = [{ hostname: 'web-1', environment: 'production' }]
  expect(await world.api('PUT', '/v1/fleet', { body: { systems } })).toMatchObject({ status: 200 })
})
afterAll(() => world.stop())

/** Somebody who calls the API, in whatever way. */
type Caller = (method: string, path: string, body: unknown) => Promise<Answer>

const ISSUER = 'https://idp.example.com'

async function token(name: string, subject?: string, role = 'approver'): Promise<Caller> {
  const body = { name, role, ...(subject === undefined ? {} : { subject }) }
  const made = await world.api('POST', '/v1/tokens', { body })
  expect(made).toMatchObject({ status: 201, body: { name } })
  return presenting(made.body.token)
}

function presenting(secret: string): Caller {
  return async (method, path, body) => {
    const headers = { authorization: `Bearer ${secret}` }
    const response = await fetch(`${world.url}${path}`, { method, headers, body: JSON.stringify(body) })
    return { status: response.status, body: await response.json() }
  }
}

/** Somebody whose JWT API Gateway has verified. */
function account(iss: string, sub: string, email: string): Caller {
  const claims = { iss, sub, email, cf_tenant: world.tenant, cf_role: 'approver' }
  return async (method, path, body) => {
    const [, , noun = '', name, action] = path.split('/')
    const parameter = noun.replace(/s$/, '')
    const template = [`/v1/${noun}`, ...(name === undefined ? [] : [`{${parameter}}`, action])].join('/')
    const event = {
      version: '2.0',
      routeKey: `${method} ${template}`,
      rawPath: path,
      rawQueryString: '',
      headers: {},
      ...(name === undefined ? {} : { pathParameters: { [parameter]: name } }),
      body: JSON.stringify(body),
      isBase64Encoded: false,
      requestContext: {
        http: { method, path, protocol: 'HTTP/1.1', sourceIp: '127.0.0.1', userAgent: '' },
        requestId: 'r',
        stage: '$default',
        authorizer: { jwt: { claims } },
      },
    }
    const handler = world.handlers['controls-api']
    if (handler === undefined) throw new Error('there is no controls-api')
    const answer = await handler(event as unknown as APIGatewayProxyEventV2, {} as Context)
    if (typeof answer === 'string') throw new Error('an answer has a status')
    return { status: answer.statusCode ?? 0, body: JSON.parse(answer.body ?? '') }
  }
}

let n = 0
let waiver: string
beforeEach(() => {
  n += 1
  waiver = `waiver-${n}`
})

async function submitted(by: Caller): Promise<void> {
  const draft = {
    name: waiver,
    rules: ['V-268139'],
    scope: { kind: 'fleet' },
    type: 'risk_accepted',
    justification: 'No USB ports there',
    expires_at: new Date(Date.now() + 86_400_000).toISOString(),
  }
  expect(await by('POST', '/v1/waivers', draft)).toMatchObject({ status: 201 })
  expect(await by('POST', `/v1/waivers/${waiver}/submit`, {})).toMatchObject({ status: 200 })
}

const approve = (by: Caller): Promise<Answer> =>
  by('POST', `/v1/waivers/${waiver}/approve`, { reason: 'seen' })
const OWN = { status: 409, body: { code: 'waiver_own_waiver' } }
const APPROVED = { status: 200, body: { state: 'approved' } }

test('one person with two tokens does not approve their own waiver, and another person does', async () => {
  await submitted(await token('ada laptop', 'ada@example.com'))
  const refused = await approve(await token('ada phone', 'ada@example.com'))
  expect(refused).toMatchObject(OWN)
  expect(refused.body.detail).toContain('ada phone (ada@example.com) wrote or submitted it')
  expect(await approve(await token('grace', 'grace@example.com'))).toMatchObject(APPROVED)
})

test('two people whose tokens have one name are two', async () => {
  await submitted(await token('approver', 'ada@example.com'))
  expect(await approve(await token('approver', 'grace@example.com'))).toMatchObject(APPROVED)
})

test('a token of which nobody said whose it is counts as its maker', async () => {
  await submitted(presenting(world.tokens.admin))
  expect(await approve(await token('somebody'))).toMatchObject(OWN)
  await submitted2(await token('one more'))
  expect(await approve(await token('and another'))).toMatchObject(OWN)
  expect(await approve(await token('grace', 'grace@example.com'))).toMatchObject(APPROVED)

  async function submitted2(by: Caller): Promise<void> {
    waiver = `${waiver}-two`
    await submitted(by)
  }
})

test('a token that was renamed is the same person, and its old name may be somebody else', async () => {
  const ada = await token('ops', 'ada@example.com')
  await submitted(ada)
  await world.rows(`update api_token set name = 'operations' where name = 'ops'`)
  expect(await approve(ada)).toMatchObject(OWN)
  expect(await approve(await token('ops', 'grace@example.com'))).toMatchObject(APPROVED)
})

test('a renamed token of which nothing is known but its name is the same person', async () => {
  const approver = presenting(world.tokens.approver)
  await submitted(approver)
  await world.rows(`update api_token set name = 'somebody else' where name = 'approver of a test'`)
  expect(await approve(approver)).toMatchObject(OWN)
  await world.rows(`update api_token set name = 'approver of a test' where name = 'somebody else'`)
})

test('an account that changed its address is the same person, and one of another issuer is another', async () => {
  await submitted(account(ISSUER, '248', 'ada@example.com'))
  expect(await approve(account(ISSUER, '248', 'a.lovelace@example.com'))).toMatchObject(OWN)
  expect(await approve(account('https://other.example.com', '248', 'ada@example.com'))).toMatchObject(
    APPROVED,
  )
})

test('an account and a token that is said to be its are one person, whichever comes first', async () => {
  const withToken = await token('ada laptop', `${ISSUER}#248`)
  await submitted(withToken)
  expect(await approve(account(ISSUER, '248', 'ada@example.com'))).toMatchObject(OWN)
  expect(await approve(account(ISSUER, '249', 'grace@example.com'))).toMatchObject(APPROVED)
  waiver = `${waiver}-two`
  await submitted(account(ISSUER, '248', 'ada@example.com'))
  expect(await approve(withToken)).toMatchObject(OWN)
})

test('who submits what a configuration has drafted is its author as well', async () => {
  await world.rows(
    `with made as (
       insert into waiver (tenant_id, name, rules, scope, type, justification, source, author, expires_at)
       values ($1, $2, '{V-268139}', '{"kind": "fleet"}', 'risk_accepted', 'no ports', 'configuration', 'configuration fleet#web-1',
               now() + interval '1 day') returning id)
     insert into waiver_transition (tenant_id, waiver_id, step, state, person) select $1, id, 1, 'draft', 'configuration' from made`,
    [world.tenant, waiver],
  )
  const submit = `/v1/waivers/${waiver}/submit`
  expect(await (await token('ada laptop', 'ada@example.com'))('POST', submit, {})).toMatchObject({
    status: 200,
  })
  expect(await approve(await token('ada phone', 'ada@example.com'))).toMatchObject(OWN)
  expect(await approve(await token('grace', 'grace@example.com'))).toMatchObject(APPROVED)
})

test('the database refuses one person with two tokens as well, whatever program asks', async () => {
  await submitted(await token('ada laptop', 'ada@example.com'))
  const [row] = await world.rows('select id from waiver where name = $1', [waiver])
  const step = (subject: string | null, person: string): Promise<unknown> =>
    world.rows(
      `insert into waiver_transition (tenant_id, waiver_id, step, state, person, subject) values ($1, $2, 3, 'approved', $3, $4)`,
      [world.tenant, row?.['id'], person, subject],
    )
  await expect(step('ada@example.com', 'ada phone')).rejects.toThrow(/cannot be approved by who wrote/)
  await expect(step(null, 'ada laptop')).rejects.toThrow(/cannot be approved by who wrote/)
  await step('grace@example.com', 'grace')
  const approved = `select person from waiver_transition where waiver_id = $1 and state = 'approved'`
  expect(await world.rows(approved, [row?.['id']])).toEqual([{ person: 'grace' }])
})

test('a statement is not accepted by its author with another token', async () => {
  const statement = {
    system: 'web-1',
    rule: 'V-268101',
    holds: true,
    statement: 'The mail arrived, ticket 4711',
  }
  const made = await (await token('ada laptop', 'ada@example.com'))('POST', '/v1/attestations', statement)
  expect(made).toMatchObject({ status: 201 })
  const accept = `/v1/attestations/${made.body.id}/accept`
  expect(await (await token('ada phone', 'ada@example.com'))('POST', accept, {})).toMatchObject({
    status: 409,
    body: { code: 'own_statement' },
  })
  await expect(
    world.rows(
      `insert into control_evidence_decision (tenant_id, evidence_id, decision, person, subject)
       values ($1, $2, 'accepted', 'ada phone', 'ada@example.com')`,
      [world.tenant, made.body.id],
    ),
  ).rejects.toThrow(/cannot be accepted by its author/)
  expect(await (await token('grace', 'grace@example.com'))('POST', accept, {})).toMatchObject({ status: 200 })
})

test('a statement counts once another person of the same name accepted it', async () => {
  const statement = {
    system: 'web-1',
    rule: 'V-268102',
    holds: true,
    statement: 'The alert came, ticket 4712',
  }
  const made = await (await token('approver', 'ada@example.com'))('POST', '/v1/attestations', statement)
  const accept = `/v1/attestations/${made.body.id}/accept`
  expect(await (await token('approver', 'grace@example.com'))('POST', accept, {})).toMatchObject({
    status: 200,
  })
  const { body } = await world.api('GET', '/v1/controls?system=web-1&rule=V-268102')
  expect(body.items[0].person).toMatchObject({ evidence: made.body.id, holds: true, by: 'approver' })
})

test('nobody is told to be a token', async () => {
  const body = { name: 'x', role: 'viewer', subject: 'token:tok_1' }
  const answer = await world.api('POST', '/v1/tokens', { body })
  expect(answer).toMatchObject({
    status: 422,
    body: { detail: expect.stringMatching(/subject.*expected a person/) },
  })
})

test('who approved stands in the evidence log by subject, and so does whose a token is', async () => {
  await submitted(await token('ada laptop', 'ada@example.com'))
  await approve(await token('grace', 'grace@example.com'))
  const rows = await world.rows(
    `select type, convert_from(body, 'UTF8')::jsonb as body from audit_event where type in ('waiver.approved', 'token.created')
     order by id desc limit 2`,
  )
  expect(rows).toMatchObject([
    {
      type: 'waiver.approved',
      body: { actor: { kind: 'operator', name: 'grace', subject: 'grace@example.com' } },
    },
    { type: 'token.created', body: { name: 'grace', subject: 'grace@example.com' } },
  ])
})
