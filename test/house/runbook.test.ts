import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { jsonLog, type Level } from '@crystal-forge/functions/log.ts'
import { COUNTED as RELAYED } from '@crystal-forge/functions/relay-outbox/relay.ts'
import { COUNTED as SWEPT } from '@crystal-forge/functions/sweep/sweep.ts'
import { WATCHED } from '@crystal-forge/functions/sweep/watch.ts'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { CONCURRENCY } from '../../infra/capacity.ts'
import { PARAMETERS } from '../../infra/parameter-table.ts'
import { createTestDatabase, type TestDatabase } from '../postgres/test-database.ts'
import { cfNowhere } from './cf-nowhere.ts'

// What the runbook tells somebody to type or to look for at three in the morning has to be there. The sections, the cf
// commands in blocks and the marks of blocks are held by operation-documents.test.ts.
const root = join(import.meta.dirname, '../..')
const read = (file: string): string => readFileSync(join(root, file), 'utf8')
const runbook = read('docs/runbook.md')
const templates = globSync('test/infra/golden/*.json', { cwd: root }).map(read).join('\n')
const sourceOf = (pattern: string): string =>
  globSync(pattern, { cwd: root, exclude: (file) => file.endsWith('.test.ts') })
    .map(read)
    .join('\n')

describe('a filter pattern', () => {
  const lines = `${runbook}\n${read('docs/deploy.md')}`.replaceAll('\\\n', ' ').split('\n')
  const patterns = lines.flatMap((line) => {
    const group = /(?:logs tail|--log-group-name) "?([\w/$-]+)"?/.exec(line)?.[1]
    const pattern = /--filter-pattern (?:'([^']+)'|(\S+))/.exec(line)
    return pattern === null || group === undefined ? [] : [{ group, pattern: pattern[1] ?? pattern[2] ?? '' }]
  })

  test('is read here', () => {
    expect(patterns.length).toBe(lines.filter((line) => line.includes('--filter-pattern')).length)
    expect(patterns.length).toBeGreaterThan(5)
  })

  test.each(patterns)('$pattern finds something in $group', ({ group, pattern }) => {
    const name = /^\/aws\/lambda\/(?:\$NAME|crystal-forge)-(.+)$/.exec(group)?.[1]
    if (name === undefined)
      expect(fieldsOfAccessLog()).toContain(/^\{ \$\.(\w+) = 5\* \}$/.exec(pattern)?.[1])
    else expect(linesOf(name).filter((line) => matches(line, pattern)).length).toBeGreaterThan(0)
  })

  /** A line for each message that the function can write: its own, those of shared code, and that a schedule failed. */
  function linesOf(name: string): Record<string, unknown>[] {
    expect(Object.keys(CONCURRENCY)).toContain(name)
    const source = sourceOf(`functions/{${name}/*,*}.ts`)
    const said = [...source.matchAll(/log\(\s*'(debug|info|warn|error)',\s*'([^']+)'(?:, \{([^}]*)\})?/g)]
    const own = said.map(([, level = '', message = '', fields = '']) => ({ level, message, fields }))
    const scheduled = { level: 'error', message: `${name} failed`, fields: 'error' }
    return [...own, scheduled].map(({ level, message, fields }) => {
      const written: string[] = []
      const names = fields.split(',').map((field) => field.split(':')[0]?.trim() ?? '')
      const log = jsonLog(name, { write: (line) => void written.push(line) })
      log(level as Level, message, Object.fromEntries(names.map((one) => [one, 'x'])))
      return JSON.parse(written.join(''))
    })
  }

  /** As CloudWatch does: `{ $.field = "value" }`, or a word that stands anywhere in the line. */
  function matches(line: Record<string, unknown>, pattern: string): boolean {
    const [, field, value] = /^\{ \$\.(\w+) = "([^"]*)" \}$/.exec(pattern) ?? []
    return field === undefined ? JSON.stringify(line).includes(pattern) : line[field] === value
  }

  function fieldsOfAccessLog(): string[] {
    const format = /"Format": "(\{.*\})"/.exec(templates)?.[1] ?? '{}'
    return Object.keys(JSON.parse(JSON.parse(`"${format}"`)))
  }
})

describe('a command for the account', () => {
  const account = [...runbook.matchAll(/^```sh account\n([\s\S]*?)^```$/gm)]
    .map(([, text]) => text)
    .join('\n')

  test('names log groups that are deployed', () => {
    const groups = [...account.matchAll(/logs tail "([^"]+)"/g)].map(([, group = '']) => asDeployed(group))
    expect(groups.length).toBeGreaterThan(5)
    expect(groups.filter((group) => !templates.includes(`"LogGroupName": "${group}"`))).toEqual([])
  })

  test('names functions and queues that are deployed', () => {
    const functions = [...account.matchAll(/FunctionName,Value=([\w$-]+)/g)].map(([, name = '']) => name)
    const queues = [...runbook.matchAll(/\$NAME-[a-z-]+-dead-letters/g)].map(([name]) => name)
    expect([functions.length > 0, queues.length > 0]).toEqual([true, true])
    const missing = [
      ...functions.filter((name) => !templates.includes(`"FunctionName": "${asDeployed(name)}"`)),
      ...queues.filter((name) => !templates.includes(`"QueueName": "${asDeployed(name)}"`)),
    ]
    expect(missing).toEqual([])
  })

  test('finds rules by a part of the name that CloudFormation gives them', () => {
    const parts = [...account.matchAll(/contains\(Name, '(\w+)'\)/g)].map(([, part = '']) => part)
    const rules = [...templates.matchAll(/"(\w+)": \{\n\s+"Type": "AWS::Events::Rule"/g)].map(([, id]) => id)
    expect(parts.length).toBeGreaterThan(1)
    expect(parts.filter((part) => !rules.some((id) => id?.includes(part)))).toEqual([])
  })
})

describe('a statement of SQL', () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createTestDatabase()
  })
  afterAll(() => database.drop())

  const statements = [...runbook.matchAll(/^```sql\n([\s\S]*?)^```$/gm)].map(([, sql = '']) => sql)
  test('is read here', () => expect(statements.length).toBeGreaterThan(5))
  test.each(statements)('runs on a migrated database: %s', async (sql) => {
    await expect(database.admin.query(sql)).resolves.toBeDefined()
  })
})

describe('a word in code letters', () => {
  const prose = runbook.replace(/^```[\s\S]*?^```$/gm, '')
  const spans = [
    ...new Set([...prose.matchAll(/`([^`]+)`/g)].map(([, span = '']) => span.replace(/\s+/g, ' '))),
  ]

  test.each(spans)('%s is something that exists', async (span) => {
    const kinds = []
    for (const [kind, is] of Object.entries(KINDS)) if (await is(span)) kinds.push(kind)
    expect(kinds, 'it is none of these, see KINDS').not.toEqual([])
  })

  test('no other system is said to say what the runbook does not mention', () => {
    expect(Object.keys(SAID_BY_OTHERS).filter((word) => !spans.includes(word))).toEqual([])
  })
})

/** Words of AWS, Postgres, Node and the shell, which nothing here can hold. */
const SAID_BY_OTHERS: Readonly<Record<string, string>> = {
  AccessDenied: 'SQS and S3, to whom a right is missing',
  ExpiredToken: 'AWS, to credentials that ended',
  Throttling: 'SQS',
  QueueDoesNotExist: 'SQS',
  ECONNREFUSED: 'Node',
  'permission denied': 'Postgres',
  'terminating connection': 'Postgres, while it shuts down',
  'the database system is starting up': 'Postgres',
  pg_terminate_backend: 'Postgres, a function',
  application_name: 'Postgres, a column of pg_stat_activity',
  "wait_event_type = 'Lock'": 'Postgres, a column of pg_stat_activity',
  failed_count: 'Postgres, a column of pg_stat_archiver',
  LatestRestorableTime: 'RDS',
  'platform.report': 'Lambda, in the last line about a run that failed',
  fsync: 'Postgres, a setting',
  t4g: 'RDS, a family of classes',
  'application=$NAME': 'AWS, the tag that infra/deployment.ts puts on everything',
  '401': 'HTTP',
  account: 'the mark of a block in the document itself',
  'aws rds create-db-snapshot': 'the AWS command line',
  'aws kms cancel-key-deletion': 'the AWS command line',
  'aws kms enable-key': 'the AWS command line',
  'aws secretsmanager put-secret-value': 'the AWS command line',
}

const METRICS: readonly string[] = [...RELAYED, ...SWEPT, ...WATCHED]
const KINDS: Readonly<Record<string, (span: string) => boolean | Promise<boolean>>> = {
  'a word of another system': (span) => Object.hasOwn(SAID_BY_OTHERS, span),
  'a parameter of the deployment': (span) => Object.hasOwn(PARAMETERS, span.split('=')[0] ?? ''),
  'a metric': (span) => METRICS.includes(span),
  'a function': (span) => Object.hasOwn(CONCURRENCY, span),
  'a file': (span) => /^[\w./-]+\.\w+$/.test(span) && globSync(span, { cwd: root }).length > 0,
  'a command of cf': (span) => /^cf( |$)/.test(span) && isCommand(span.split(' ').slice(1)),
  'an npm script': (span) => /^npm run /.test(span) && isScript(span),
  'a flag of cf apply or of the deployment': (span) =>
    span === '--all' ||
    (span.startsWith('--') && sourceOf('cli/src/commands/*.ts').includes(`${span.slice(2)}: {`)),
  'a variable of cf': (span) => /^CF_/.test(span) && read('cli/src/connection.ts').includes(`'${span}'`),
  'a name of something deployed': (span) =>
    span === '$NAME' || new RegExp(`"[^"]*\\b${escaped(asDeployed(span))}"`).test(templates),
  'a secret': (span) => templates.includes(`"Name": "crystal-forge/${span}"`),
  'a unit on a machine': (span) => {
    const unit = /^(?:systemctl|journalctl)\b.*\b(crystal-forge-[a-z]+)\b/.exec(span)?.[1]
    return unit !== undefined && sourceOf('nix/modules/**/*.nix').includes(`systemd.services.${unit} =`)
  },
  'a command of the host agent': (span) => {
    const command = /^(?:host-agent|crystal-forge-agent) ([a-z-]+)$/.exec(span)?.[1]
    return command !== undefined && read('host-agent/src/command-line.ts').includes(`'${command}'`)
  },
  'a directory of the host agent': (span) => {
    const directory = /^\/var\/lib\/crystal-forge-agent\/([a-z]+)$/.exec(span)?.[1]
    const kept = read('nix/modules/crystal-forge/agent.nix').includes(
      'StateDirectory = "crystal-forge-agent"',
    )
    return kept && read('host-agent/src/main.ts').includes(`config.stateDirectory, '${directory}'`)
  },
  'an option of the NixOS modules': (span) => read('docs/options.md').includes(`crystal-forge.${span}\``),
  'a key of the fleet file': (span) => read('cli/src/fleet-file.ts').includes(`${span}:`),
  'a table': (span) =>
    new RegExp(`^create table ${span.replace('_*', '')}\\b`, 'm').test(read('test/schema.sql')),
  'a message of a log': (span) =>
    sourceOf('functions/**/*.ts').includes(`'${span}'`) ||
    Object.keys(CONCURRENCY).some((name) => span === `${name} failed`),
  'a refusal of a function to start': (span) => span === 'configuration: X is not set' && refusesLikeThis(),
  'a piece of the sweep': (span) => read('functions/sweep/sweep.ts').includes(`const ${span}: Piece`),
  'what becomes of a dead letter': (span) =>
    read('functions/operator-api/dead-letters.ts').includes(`'${span}'`),
  'an answer of GET /status': (span) => read('functions/status/app.ts').includes(`'${span}'`),
  'a route, cut short': (span) => span === 'GET /v1/...' && read('functions/routes.ts').includes('GET /v1/'),
  'a mark of a migration': (span) => read('packages/postgres/src/migrate.ts').includes(`-- ${span}`),
}

async function isCommand(words: readonly string[]): Promise<boolean> {
  const { code, out: help } = await cfNowhere([...words, '--help'])
  const flag = words.findIndex((word) => word.startsWith('-'))
  const path = flag === -1 ? words : words.slice(0, flag)
  // The help names the command that was found; with a word that is none it would be that of the command before.
  return (
    code === 0 &&
    help.split('\n')[0]?.includes(`(${['cf', ...path].join(' ')}`) === true &&
    words.filter((word) => word.startsWith('--')).every((word) => help.includes(word))
  )
}

function isScript(span: string): boolean {
  const name = /^npm run (?:-s )?([\w:]+)/.exec(span)?.[1] ?? ''
  return Object.hasOwn(JSON.parse(read('package.json')).scripts, name)
}

function refusesLikeThis(): boolean {
  const source = read('functions/environment.ts')
  return source.includes('`configuration: ') && source.includes(' is not set`')
}

function asDeployed(name: string): string {
  return name.replaceAll('$NAME', 'crystal-forge')
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
}
