import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { PARAMETERS } from './parameter-table.ts'
import { ParameterError, readParameters } from './parameters.ts'

const file = (name: string): string => readFileSync(new URL(name, import.meta.url), 'utf8')
const read = (context: Readonly<Record<string, unknown>>) => readParameters((name) => context[name])

test('the defaults are a deployment', () => {
  expect(read({})).toMatchObject({
    name: 'crystal-forge',
    exposure: 'public',
    databaseMultiAz: true,
    tags: {},
  })
})

test.each([
  [{ region: 'Virginia' }, 'context region is "Virginia"; expected a region, such as us-gov-west-1'],
  [{ name: '' }, 'context name is missing: a lower-case name; set it with -c name=...'],
  [{ exposure: 'hidden' }, 'context exposure is "hidden"; expected one of public, private'],
  [{ backupDays: '0' }, 'context backupDays is "0"; expected a whole number from 1 to 35'],
  [{ databaseMultiAz: 'yes' }, 'context databaseMultiAz is "yes"; expected one of true, false'],
  [{ logRetentionDays: '7' }, /^context logRetentionDays is "7"; expected one of 30, /],
  [{ availabilityZones: 'us-east-1a' }, 'context availabilityZones: exactly two zones are used'],
  [{ region: 'eu-west-1' }, 'context availabilityZones: not all of them lie in the region eu-west-1'],
  [{ publicHost: 'api.example.com' }, 'context certificateArn: a domain needs both'],
  [{ certificateArn: 'arn:aws:acm:x' }, 'context publicHost: a domain needs both'],
  [{ oidcIssuer: 'https://i.example.com' }, 'context oidcAudience is missing: oidcIssuer is set'],
  [{ oidcAudience: 'cf' }, 'context oidcIssuer is missing: oidcAudience is set'],
  [{ exposure: 'private' }, 'context clientCidrs: exposure is private, and nobody could reach the API'],
  [{ clientCidrs: '10.0.0.0/8' }, 'context clientCidrs: has no effect while exposure is public'],
  [
    { exposure: 'private', clientCidrs: '10.0.0.0/8', cacheReads: 'cloudfront' },
    'context cacheReads: CloudFront is reachable by everybody',
  ],
  [
    {
      exposure: 'private',
      clientCidrs: '10.0.0.0/8',
      oidcIssuer: 'https://i.example.com',
      oidcAudience: 'cf',
    },
    'context oidcIssuer: a private REST API has no JWT authorizer',
  ],
  [{ builderCrlFile: 'crl.pem' }, 'context builderCaFile: a revocation list needs'],
  [{ builderCaFile: 'ca.pem' }, 'context builderNames: name the subjects'],
  [{ builderOidcIssuer: 'https://i.example.com' }, 'context builderOidcAudience is missing'],
  [
    { database: 'aurora', databaseClass: 'm7g.large' },
    'context databaseClass: has no effect with database=aurora',
  ],
  [
    { region: 'us-gov-west-1', availabilityZones: 'us-gov-west-1a,us-gov-west-1b', budgetUsd: '5' },
    'context budgetUsd: AWS Budgets does not exist in GovCloud',
  ],
  [{ budgetUsd: 'much' }, 'context budgetUsd is "much"; expected US dollars'],
  [{ tags: 'a' }, 'context tags is "a"; expected key=value separated by commas'],
])('%j is refused by one line that names it', (context, says) => {
  expect(() => read(context)).toThrow(says)
  expect(() => read(context)).toThrow(ParameterError)
  try {
    read(context)
  } catch (error) {
    expect(String(error)).not.toContain('\n')
  }
})

describe('what people read of the parameters', () => {
  test('infra/README.md lists each with its default', () => {
    const rows = Object.entries(PARAMETERS).map(
      ([name, { meaning, shape, default: given = '' }]) =>
        `| \`${name}\` | ${meaning} | ${shape} | ${given === '' ? '' : `\`${given}\``} |`,
    )
    const table = file('./README.md')
      .split('\n')
      .filter((line) => /^\| `[a-zA-Z]+` \|/.test(line))
    expect(table, `the table has to be:\n${rows.join('\n')}`).toEqual(rows)
  })

  test('cdk.json holds each with its default', () => {
    const { context } = JSON.parse(file('../cdk.json'))
    const held = Object.entries(context).filter(([name]) => !name.includes(':'))
    expect(Object.fromEntries(held)).toEqual(
      Object.fromEntries(Object.entries(PARAMETERS).map(([name, { default: given = '' }]) => [name, given])),
    )
  })
})
