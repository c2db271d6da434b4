import { globSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, expect, test } from 'vitest'
import * as z from 'zod'

const root = join(import.meta.dirname, '../..')
const folders = globSync('functions/*/config.ts', { cwd: root }).map((file) => dirname(file))

/** What `infra/` may leave out, each with what happens then. */
const OPTIONAL: Readonly<Record<string, string>> = {
  DATABASE_PORT: '5432',
  DATABASE_AUTH: 'iam',
  DATABASE_CA_FILE: 'no TLS, which openDatabase refuses for another machine',
  DATABASE_PROXY: 'no proxy: named statements are used',
  NEXT_REPORT_IN_S: 'the default of the protocol',
  LEASE_S: '60',
  HINT_AGAIN_S: '60',
  EXPIRY_ALARM_DAYS: '14',
  REVOCATION_LIST_ENDS_AT: 'there is no revocation list',
  RELAY_QUEUE_URL: 'something else wakes the relay',
}

const configuration = z.object({
  VARIABLES: z.array(z.string()),
  readConfig: z.function({ input: [z.record(z.string(), z.string())], output: z.unknown() }),
})

describe.each(folders)('%s', async (folder) => {
  const loaded: unknown = await import(pathToFileURL(join(root, folder, 'config.ts')).href)
  const { VARIABLES, readConfig } = configuration.parse(loaded)
  const all: Record<string, string> = {
    ...Object.fromEntries(VARIABLES.map((name) => [name, exampleOf(name)])),
    AWS_REGION: 'us-east-1',
  }

  test('starts with the variables that it says it needs', () => {
    expect(() => readConfig(all)).not.toThrow()
  })

  const needed = [...VARIABLES, 'AWS_REGION'].filter((name) => OPTIONAL[name] === undefined)
  test.each(needed)('without %s says so', (name) => {
    const { [name]: _, ...others } = all
    const refused = outcomeOf(() => readConfig(others))
    if (name === 'AWS_REGION' && refused === undefined) return
    // A secret can lie in a file too, which is what the message asks for.
    expect(refused).toContain(name.replace(/_SECRET_ARN$/, '_'))
  })

  test('without any of them names all of them at once', () => {
    const refused = outcomeOf(() => readConfig({})) ?? ''
    const first = needed.filter((name) => !name.startsWith('DLQ_') && !isOfDeadLetters(folder, name))
    for (const name of first.filter((one) => one !== 'AWS_REGION'))
      expect(refused).toContain(name.replace(/_SECRET_ARN$/, '_'))
  })
})

test.each(['tomorrow', '2027-01-31', '2027-13-31T00:00:00Z', '2027-01-31T00:00:00+01:00'])(
  'a time that is %s is refused by name',
  async (value) => {
    const { readConfig } = await import('../../functions/sweep/config.ts')
    expect(outcomeOf(() => readConfig({ REVOCATION_LIST_ENDS_AT: value }))).toContain(
      `REVOCATION_LIST_ENDS_AT is "${value}"; expected none or a time such as 2027-01-31T00:00:00Z`,
    )
  },
)

/** They are needed once one dead-letter queue is named. */
function isOfDeadLetters(folder: string, name: string): boolean {
  return folder.endsWith('operator-api') && name.startsWith('QUEUE_URL_')
}

function exampleOf(name: string): string {
  if (name === 'DATABASE_PORT') return '5432'
  if (name === 'DATABASE_AUTH') return 'iam'
  if (name === 'DATABASE_PROXY') return '1'
  if (name === 'REVOCATION_LIST_ENDS_AT') return '2027-01-31T00:00:00Z'
  if (/_(S|DAYS)$/.test(name)) return '60'
  return 'x'
}

function outcomeOf(read: () => unknown): string | undefined {
  try {
    read()
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}
