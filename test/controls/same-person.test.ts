import { isSamePerson, type Person } from '@crystal-forge/control-plane'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../postgres/test-database.ts'

const is = (subject: string | null, name: string): Person => ({ subject, name })
const ISSUER = 'https://idp.example.com'

const PEOPLE: readonly (readonly [what: string, one: Person, other: Person, same: boolean])[] = [
  ['two tokens of one person', is('ada@example.com', 'ada laptop'), is('ada@example.com', 'ada phone'), true],
  ['one token by another name', is('token:tok_1', 'ada'), is('token:tok_1', 'ada, renamed'), true],
  [
    'two tokens of which nobody said whose they are',
    is('token:tok_1', 'ci'),
    is('token:tok_2', 'deploy'),
    false,
  ],
  ['two such tokens by one name', is('token:tok_1', 'ada'), is('token:tok_2', 'ada'), true],
  [
    'two people whose tokens have one name',
    is('ada@example.com', 'approver'),
    is('grace@example.com', 'approver'),
    false,
  ],
  [
    'an account, by two names',
    is(`${ISSUER}#248`, 'ada@example.com'),
    is(`${ISSUER}#248`, 'a.lovelace@example.com'),
    true,
  ],
  ['two accounts by one name', is(`${ISSUER}#248`, 'A. Lovelace'), is(`${ISSUER}#249`, 'A. Lovelace'), false],
  ['one sub of two issuers', is(`${ISSUER}#248`, 'ada'), is('https://other.example.com#248', 'grace'), false],
  [
    'an account and a token that is said to be its',
    is(`${ISSUER}#248`, 'ada@example.com'),
    is(`${ISSUER}#248`, 'ada laptop'),
    true,
  ],
  [
    'an account and the token of somebody else',
    is(`${ISSUER}#248`, 'ada@example.com'),
    is('token:tok_2', 'grace'),
    false,
  ],
  [
    'an account and a token by its name',
    is(`${ISSUER}#248`, 'ada@example.com'),
    is('token:tok_1', 'ada@example.com'),
    true,
  ],
  ['a record that holds a name only, and who has it', is(null, 'ada'), is('ada@example.com', 'ada'), true],
  ['a record that holds a name only, and another', is(null, 'ada'), is('grace@example.com', 'grace'), false],
  ['two records that hold names only', is(null, 'ada'), is(null, 'grace'), false],
]

let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase()
})
afterAll(() => database.drop())

/** As the trigger asks that refuses whatever program writes. */
async function sameInDatabase(one: Person, other: Person): Promise<boolean> {
  const values = [one.subject, one.name, other.subject, other.name]
  const { rows } = await database.admin.query('select same_person($1, $2, $3, $4) as same', values)
  return rows[0].same
}

describe.each(PEOPLE)('%s', (_, one, other, same) => {
  it(`${same ? 'are' : 'are not'} one person, to the program and to the database`, async () => {
    expect(isSamePerson(one, other)).toBe(same)
    expect(isSamePerson(other, one)).toBe(same)
    expect(await sameInDatabase(one, other)).toBe(same)
    expect(await sameInDatabase(other, one)).toBe(same)
  })
})
