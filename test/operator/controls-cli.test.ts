import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Console } from '../../cli/src/console.ts'
import { run } from '../../cli/src/run.ts'
import { type OperatorWorld, operatorWorld } from './world.ts'

let world: OperatorWorld
let directory: string

type Ran = { readonly code: number; readonly out: string; readonly err: string }
async function cf(
  argv: readonly string[],
  role: 'viewer' | 'operator' | 'approver' | 'admin' = 'admin',
): Promise<Ran> {
  const out: string[] = []
  const err: string[] = []
  const console: Console = {
    env: { CF_SERVER: world.url, CF_TOKEN: world.tokens[role] },
    home: directory,
    hostname: 'here',
    now: () => new Date(),
    fetch,
    out: (line) => out.push(line),
    err: (line) => err.push(line),
    ask: async () => null,
  }
  const code = await run(argv, console)
  return { code, out: out.join('\n'), err: err.join('\n') }
}

beforeAll(async () => {
  world = await operatorWorld()
  directory = await mkdtemp(join(tmpdir(), 'cf-controls-'))
  const systems = ['web-1', 'web-2'].map((hostname) => ({ hostname, environment: 'production' }))
  expect(await world.api('PUT', '/v1/fleet', { body: { systems } })).toMatchObject({ status: 200 })
})
afterAll(async () => {
  await world.stop()
  await rm(directory, { recursive: true })
})

const day = (ahead: number): string => new Date(Date.now() + ahead * 86_400_000).toISOString().slice(0, 10)

test('cf export writes a checklist of a host with 103 rules, none of which is not_a_finding without evidence', async () => {
  const file = join(directory, 'web-1.cklb')
  const ran = await cf(['export', '--host', 'web-1', '--format', 'cklb', '-o', file], 'viewer')
  expect(ran).toMatchObject({
    code: 0,
    err: expect.stringMatching(/not_reviewed 103; score 0.0 %, coverage 0.0 %; sha256/),
  })
  const { stigs } = JSON.parse(await readFile(file, 'utf8'))
  expect(stigs[0].rules).toHaveLength(103)
  expect(stigs[0].rules.filter(({ status }: { status: string }) => status === 'not_a_finding')).toEqual([])
})

test('cf export --fleet writes a file for each host, or one document', async () => {
  const out = join(directory, 'checklists')
  expect((await cf(['export', '--fleet', '--format', 'ckl', '-o', out])).code).toBe(0)
  expect((await readdir(out)).sort()).toEqual(['web-1.ckl', 'web-2.ckl'])
  const document = await cf(['export', '--fleet', '--format', 'oscal-poam'])
  expect(JSON.parse(document.out)['plan-of-action-and-milestones'].metadata['oscal-version']).toBe('1.1.3')
})

test('cf import of what was exported changes nothing', async () => {
  const file = join(directory, 'web-1.cklb')
  expect(await cf(['import', file, '--dry-run'])).toMatchObject({
    code: 0,
    out: 'web-1: 103 rules, 103 as they are, 0 statements recorded',
  })
})

test('cf import of a benchmark lists what changes and writes the catalogue', async () => {
  const exported = await cf(['export', '--host', 'web-1', '--format', 'xccdf'])
  const next = exported.out
    .replace('<version>V1R2</version>', '<version>V1R3</version>')
    .replace('Bluetooth', 'Short range radio')
  const file = join(directory, 'next.xml')
  await writeFile(file, next)
  expect((await cf(['import', file, '--dry-run'])).out).toMatch(/^V1R3 after V1R2: 10[23] rules unchanged/)
  expect(await cf(['import', file])).toMatchObject({ code: 2, err: expect.stringContaining('--catalogue') })
  const catalogue = join(directory, 'catalogue')
  expect((await cf(['import', file, '--catalogue', catalogue])).err).toContain('104 files are written')
  expect(JSON.parse(await readFile(join(catalogue, 'anix/benchmark.json'), 'utf8')).releases.at(-1).id).toBe(
    'V1R3',
  )
})

test('cf waiver draft, submit, approve and revoke', async () => {
  const draft = [
    'waiver',
    'draft',
    'no-usb',
    '--rules',
    'V-268139',
    '--scope',
    'hosts:web-1',
    '--type',
    'risk_accepted',
    '--justification',
    'No USB ports there',
    '--expires',
    day(30),
  ]
  expect(await cf(draft, 'operator')).toMatchObject({ code: 0, out: 'no-usb is draft' })
  expect((await cf(['waiver', 'submit', 'no-usb'], 'operator')).out).toMatch(/^no-usb is submitted/)
  expect((await cf(['waiver', 'approve', 'no-usb'], 'operator')).code).toBe(4)
  expect((await cf(['waiver', 'approve', 'no-usb', '--reason', 'seen'], 'approver')).out).toMatch(
    /^no-usb is approved/,
  )
  expect((await cf(['waiver', 'list', '--state', 'approved'])).out).toContain('no-usb')
  expect((await cf(['waiver', 'revoke', 'no-usb'], 'operator')).out).toMatch(/^no-usb is revoked/)
})

test('cf controls shows a host with its score, and lists over hosts', async () => {
  expect((await cf(['controls', 'web-1'])).out).toMatch(
    /score 0.0 %, coverage by fresh evidence 0.0 %, accepted risk 0.0 %, open CAT I 0/,
  )
  expect((await cf(['controls', '--rule', 'V-268078'])).out).toMatch(
    /web-1 +V-268078 +not_reviewed[\s\S]*web-2/,
  )
})

test('cf attestation make and accept', async () => {
  const file = join(directory, 'mail.eml')
  await writeFile(file, 'it arrived')
  const made = await cf(
    ['attestation', 'make', 'web-1', 'V-268101', '--statement', 'The mail arrived', '--document', file],
    'operator',
  )
  expect(made).toMatchObject({ code: 0, out: expect.stringMatching(/^cev_/) })
  expect((await cf(['attestation', 'accept', made.out], 'approver')).out).toBe(`${made.out} is accepted`)
  expect((await cf(['attestation', 'list', '--system', 'web-1'])).out).toContain('The mail arrived')
})

test.each([
  [['export', '--format', 'cklb'], 2, /--host, or --fleet/],
  [['export', '--host', 'web-1', '--fleet', '--format', 'cklb'], 2, /--host, or --fleet/],
  [['export', '--host', 'web-1', '--format', 'pdf'], 2, /--format/],
  [['export', '--host', 'nobody', '--format', 'cklb'], 3, /no system is called "nobody"/],
  [['export', '--fleet', '--format', 'cklb'], 2, /name a directory/],
  [['export', '--host', 'web-1', '--format', 'cklb', '--as-of', 'yesterday'], 2, /as_of is "yesterday"/],
  [['controls', '--rule', 'V-000001'], 2, /rule is "V-000001"/],
  [
    [
      'waiver',
      'draft',
      'x',
      '--rules',
      'V-268139',
      '--scope',
      'moon',
      '--type',
      'risk_accepted',
      '--justification',
      'whatever it takes',
      '--expires',
      '2030-01-01',
    ],
    2,
    /--scope is "moon"/,
  ],
  [
    [
      'waiver',
      'draft',
      'x',
      '--rules',
      'V-268139',
      '--scope',
      'fleet',
      '--type',
      'risk_accepted',
      '--justification',
      'whatever it takes',
      '--expires',
      '2020-01-01',
    ],
    2,
    /must lie in the next 365 days/,
  ],
  [['waiver', 'approve', 'nothing'], 3, /no waiver is called "nothing"/],
  [['import', '/nonexistent'], 2, /cannot be read/],
] as const)('%j ends with %d', async (argv, code, words) => {
  const ran = await cf(argv)
  expect(ran.err).toMatch(words)
  expect(ran.code).toBe(code)
})
