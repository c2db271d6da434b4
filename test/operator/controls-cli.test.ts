import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { generateKeyPair, MANIFEST_FILE, renderPublicKey } from '@crystal-forge/protocol'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
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
  const code = await run(argv, consoleOf(role, out, err))
  return { code, out: out.join('\n'), err: err.join('\n') }
}

function consoleOf(role: keyof OperatorWorld['tokens'], out: string[], err: string[]): Console {
  return {
    env: { CF_SERVER: world.url, CF_TOKEN: world.tokens[role] },
    home: directory,
    hostname: 'here',
    now: () => new Date(),
    fetch,
    out: (line) => out.push(line),
    err: (line) => err.push(line),
    sleep: async () => {},
    ask: async () => null,
  }
}

type Envelope = { payload: string; signatures: { keyid: string; sig: string }[] }

/** One file of the list gets another digest. */
function changed(envelope: Envelope): unknown {
  const list = Buffer.from(envelope.payload, 'base64')
    .toString()
    .replace(/"sha256":"./, '"sha256":"f')
  return { ...envelope, payload: Buffer.from(list).toString('base64') }
}

function otherName(envelope: Envelope): unknown {
  const signatures = envelope.signatures.map((one) => ({ ...one, keyid: `ed25519:${'A'.repeat(43)}` }))
  return { ...envelope, signatures }
}

const unreachable: typeof fetch = () => Promise.reject(new Error('nobody may be asked'))

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
    err: expect.stringMatching(
      /not_reviewed 103; score 0.0 %, coverage 0.0 %, accepted risk 0.0 %, open CAT I 0; sha256/,
    ),
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

describe('a bundle', () => {
  let bundle: string
  let key: string
  const verify = (more: readonly string[] = []): Promise<Ran> =>
    cf(['verify-export', bundle, '--key', key, ...more])

  beforeEach(async () => {
    bundle = join(await mkdtemp(join(directory, 'bundle-')), 'web-1')
    key = join(directory, 'pinned.keys')
    await writeFile(key, `# of our control plane\n${world.exportPublicKey}\n`)
    const ran = await cf(['export', '--host', 'web-1', '--bundle', '-o', bundle], 'viewer')
    expect(ran).toMatchObject({ code: 0, err: '' })
  })

  test('holds every format of a host and is valid with the pinned key alone', async () => {
    expect((await readdir(bundle)).sort()).toEqual([
      'emass.csv',
      'manifest.dsse.json',
      'oscal-cd.json',
      'oscal-poam.json',
      'web-1.ckl',
      'web-1.cklb',
      'web-1.hdf.json',
      'web-1.oscal-ar.json',
      'web-1.xccdf.xml',
    ])
    const offline = { ...consoleOf('viewer', [], []), env: {}, fetch: unreachable }
    expect(await run(['verify-export', bundle, '--key', key], offline)).toBe(0)
    const ran = await verify()
    expect(ran.out).toMatch(/8 files about web-1 as of .*, V1R2; whole, and signed by ed25519:/)
  })

  test('is the same bytes whenever it is asked for', async () => {
    // Not earlier: a second ago this fleet may not have been there.
    const asOf = new Date().toISOString()
    const [one, two] = [`${bundle}-one`, `${bundle}-two`]
    for (const out of [one, two])
      expect((await cf(['export', '--fleet', '--bundle', '--as-of', asOf, '-o', out])).code).toBe(0)
    const names = await readdir(one)
    expect(names).toHaveLength(14)
    for (const name of names)
      expect(await readFile(join(two, name)), name).toEqual(await readFile(join(one, name)))
  })

  test('with a changed byte is refused, and the file is named', async () => {
    const file = join(bundle, 'web-1.cklb')
    const bytes = await readFile(file)
    bytes[bytes.length - 10] = (bytes[bytes.length - 10] ?? 0) ^ 1
    await writeFile(file, bytes)
    expect(await verify()).toMatchObject({
      code: 1,
      out: '',
      err: expect.stringMatching(/^web-1.cklb is changed: /),
    })
    const { valid, faults } = JSON.parse((await verify(['--json'])).out)
    expect({ valid, faults }).toMatchObject({
      valid: false,
      faults: [{ file: 'web-1.cklb', kind: 'changed' }],
    })
  })

  test('with a file less or more is refused, also when the other is a link or a directory', async () => {
    await rm(join(bundle, 'emass.csv'))
    expect(await verify()).toMatchObject({ code: 1, err: expect.stringMatching(/^emass.csv is missing: /) })
    await symlink(join(bundle, 'web-1.ckl'), join(bundle, 'emass.csv'))
    await mkdir(join(bundle, 'more'))
    await writeFile(join(bundle, 'no\u001b[2Jte.txt'), 'by the way')
    const { code, err } = await verify()
    expect(code).toBe(1)
    expect(err.split('\n')).toEqual([
      'emass.csv is missing: the manifest names it, and it is not there',
      'no·[2Jte.txt is extra: the manifest does not name it',
      'emass.csv is extra: it is no plain file',
      'more is extra: it is no plain file',
    ])
  })

  test.each<[string, (envelope: Envelope) => unknown, RegExp]>([
    ['a changed list', changed, /was changed, or is not signed by a key of/],
    ['no signature', (envelope) => ({ ...envelope, signatures: [] }), /is no envelope \(DSSE\)/],
    [
      'the type of a job document',
      (envelope) => ({ ...envelope, payloadType: 'application/vnd.crystalforge.job.v1+json' }),
      /is a signed document of another kind/,
    ],
    ['the name of another key', otherName, /it names ed25519:A{43}/],
    ['something else', () => 'list', /is no envelope \(DSSE\)/],
  ])('whose manifest has %s is refused', async (_, change, words) => {
    const file = join(bundle, MANIFEST_FILE)
    await writeFile(file, JSON.stringify(change(JSON.parse(await readFile(file, 'utf8')))))
    expect(await verify()).toMatchObject({ code: 1, out: '', err: expect.stringMatching(words) })
  })

  test('of another key is refused, and one of two pinned keys is enough', async () => {
    const other = renderPublicKey(generateKeyPair().publicKey)
    await writeFile(key, other)
    expect(await verify()).toMatchObject({ code: 1, err: expect.stringMatching(/not signed by a key of/) })
    await writeFile(key, `${other}\n${world.exportPublicKey}\n`)
    expect(await verify()).toMatchObject({ code: 0 })
  })

  test('that broke off has no list, and another one does not go into the same directory', async () => {
    expect(await cf(['export', '--host', 'web-1', '--bundle', '-o', bundle])).toMatchObject({
      code: 2,
      err: expect.stringMatching(/a bundle has a directory of its own/),
    })
    await rm(join(bundle, MANIFEST_FILE))
    expect(await verify()).toMatchObject({ code: 1, err: expect.stringMatching(/no list of files to check/) })
  })

  test('is an entry of the evidence log with the digest of what was signed', async () => {
    const { payload } = JSON.parse(await readFile(join(bundle, MANIFEST_FILE), 'utf8'))
    const sha256 = createHash('sha256').update(Buffer.from(payload, 'base64')).digest('hex')
    const rows = await world.rows(
      `select convert_from(body, 'UTF8')::jsonb as body from audit_event where type = 'control.exported'`,
    )
    expect(rows.map(({ body }) => body)).toContainEqual(
      expect.objectContaining({ format: 'bundle', sha256, files: 8 }),
    )
  })
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
  expect((await cf(['waiver', 'list', '--expiring-within', '32d'])).out).toContain('no-usb')
  expect((await cf(['waiver', 'list', '--expiring-within', '2d'])).out).toBe('none')
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
  [['export', '--host', 'web-1'], 2, /name one form with --format .*, or all of them with --bundle/],
  [['export', '--host', 'web-1', '--format', 'cklb', '--bundle'], 2, /or all of them with --bundle/],
  [['export', '--host', 'web-1', '--bundle'], 2, /name a directory with --out/],
  [['verify-export', '/nonexistent', '--key', '/nonexistent'], 2, /the key file .* cannot be read/],
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
  [['waiver', 'list', '--expiring-within', 'soon'], 2, /--expiring-within is "soon"/],
  [['waiver', 'list', '--expiring-within', '900d'], 2, /expiring_within_s is "77760000": expected at most/],
  [['waiver', 'approve', 'nothing'], 3, /no waiver is called "nothing"/],
  [['import', '/nonexistent'], 2, /cannot be read/],
] as const)('%j ends with %d', async (argv, code, words) => {
  const ran = await cf(argv)
  expect(ran.err).toMatch(words)
  expect(ran.code).toBe(code)
})
