import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readBuilderTrust } from '../../infra/builder-trust.ts'
import { ParameterError, readParameters } from '../../infra/parameters.ts'
import { readRevocationList } from '../../infra/revocation-list.ts'
import { type Synthesized, synthesize } from './synthesized.ts'

const run = promisify(execFile)
let directory: string
const file = (name: string): string => join(directory, name)
/** What each test finds in the directory, made as docs/deploy.md makes it. */
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cf-trust-'))
  for (const name of ['ca', 'other']) await makeAuthority(name)
  await makeAuthority('rsa', ['-newkey', 'rsa:2048', '-nodes', '-keyout', file('rsa.key')])
  await makeAuthority('ed', ['-newkey', 'ed25519', '-nodes', '-keyout', file('ed.key')])
  await makeLeaf()
  await makeList('empty', 'ca', 90)
  await makeList('revoked', 'ca', 90, ['-revoke', file('leaf.pem')])
  await makeList('far', 'ca', 12_000)
  await makeList('foreign', 'other', 90)
  await makeList('by-rsa', 'rsa', 90)
  await writeFile(file('note.txt'), 'the list is in the safe\n')
  await writeFile(file('cut.crl'), (await readFile(file('empty.crl'), 'utf8')).replace(/\n.{10}/, '\n'))
  await writeFile(file('two.crl'), (await text('empty.crl')) + (await text('revoked.crl')))
  await writeFile(file('with-key.pem'), (await text('ca.key')) + (await text('ca.pem')))
  await writeFile(file('both.pem'), (await text('other.pem')) + (await text('ca.pem')))
  await writeFile(file('broken.pem'), (await text('ca.pem')).replace(/\n.{20}/, '\n'))
}, 120_000)
afterAll(() => rm(directory, { recursive: true, force: true }))

describe('an authority of builders and its revocation list', () => {
  let made: Synthesized
  beforeAll(async () => {
    made = await synthesize({
      builderCaFile: file('ca.pem'),
      builderCrlFile: file('revoked.crl'),
      builderNames: 'builder-1',
      alarmExpiryDays: '30',
    })
  }, 120_000)

  test('are what the template holds, and nothing else of their files', async () => {
    const anchor = made.only('AWS::RolesAnywhere::TrustAnchor').Properties
    expect(anchor['Source']).toEqual({
      SourceType: 'CERTIFICATE_BUNDLE',
      SourceData: { X509CertificateData: (await text('ca.pem')).trim() },
    })
    const list = made.only('AWS::RolesAnywhere::CRL').Properties
    expect(list).toMatchObject({ Enabled: true, CrlData: (await text('revoked.crl')).trim() })
    expect(list['TrustAnchorArn']).toEqual({ 'Fn::GetAtt': ['TrustAnchor', 'TrustAnchorArn'] })
  })

  test('are watched: by Roles Anywhere for certificates, by the sweep for the list', async () => {
    const anchor = made.only('AWS::RolesAnywhere::TrustAnchor').Properties
    expect(anchor['NotificationSettings']).toEqual(
      ['CA_CERTIFICATE_EXPIRY', 'END_ENTITY_CERTIFICATE_EXPIRY'].map((Event) => ({
        Event,
        Channel: 'ALL',
        Enabled: true,
        Threshold: 30,
      })),
    )
    const rules = made.ofType('AWS::Events::Rule').map(([, { Properties }]) => Properties['EventPattern'])
    expect(rules).toContainEqual({
      source: ['aws.rolesanywhere'],
      'detail-type': ['Roles Anywhere Certificate Expiration State Change'],
    })
    const sweep = made
      .ofType('AWS::Lambda::Function')
      .find(([, { Properties }]) => Properties['FunctionName'] === 'crystal-forge-sweep')?.[1].Properties
    expect(Object(sweep?.['Environment']).Variables).toMatchObject({
      EXPIRY_ALARM_DAYS: '30',
      REVOCATION_LIST_ENDS_AT: (await endOf('revoked.crl')).toISOString(),
    })
    const alarm = made
      .ofType('AWS::CloudWatch::Alarm')
      .find(([, { Properties }]) => Properties['MetricName'] === 'revocationListDaysLeft')?.[1].Properties
    expect(alarm).toMatchObject({ Threshold: 30, ComparisonOperator: 'LessThanThreshold' })
  })
})

const now = new Date()
const trust = (ca: string, crl?: string, at = now) =>
  readBuilderTrust(
    {
      ...readParameters(() => undefined),
      builderCaFile: file(ca),
      builderCrlFile: crl === undefined ? undefined : file(crl),
    },
    at,
  )

test.each(['empty.crl', 'revoked.crl', 'far.crl'])('%s ends when openssl says that it does', async (list) => {
  expect(trust('ca.pem', list)?.revocationList?.endsAt).toEqual(await endOf(list))
})

test('an authority may be of RSA, and there may be two of them, of which either signs the list', async () => {
  expect(trust('rsa.pem', 'by-rsa.crl')?.revocationList?.endsAt).toEqual(await endOf('by-rsa.crl'))
  expect(trust('both.pem', 'empty.crl')?.authorityPem.match(/BEGIN/g)?.length).toBe(2)
})

const CENTURY = new Date('2126-01-01T00:00:00Z')
test.each<[string, string, string | undefined, Date, RegExp]>([
  ['no file', 'nowhere.pem', undefined, now, /^context builderCaFile: \S+ cannot be read$/],
  ['a text', 'note.txt', undefined, now, /builderCaFile: \S+ holds no PEM block "CERTIFICATE"$/],
  ['a list for an authority', 'empty.crl', undefined, now, /holds no PEM block "CERTIFICATE"$/],
  ['a certificate that is broken', 'broken.pem', undefined, now, /builderCaFile: \S+ cannot be used: /],
  ['the key beside it', 'with-key.pem', undefined, now, /builderCaFile: \S+ holds a private key, which/],
  [
    'the certificate of a builder',
    'leaf.pem',
    undefined,
    now,
    /is no authority \(basicConstraints CA:TRUE\)$/,
  ],
  ['an Ed25519 authority', 'ed.pem', undefined, now, /does not take; use RSA or ECDSA$/],
  ['one that ended', 'ca.pem', undefined, CENTURY, /builderCaFile: \S+ holds an authority that ended on 20/],
  ['no list', 'ca.pem', 'nowhere.crl', now, /^context builderCrlFile: \S+ cannot be read$/],
  ['a text for a list', 'ca.pem', 'note.txt', now, /builderCrlFile: \S+ holds no PEM block "X509 CRL"$/],
  ['a certificate for a list', 'ca.pem', 'ca.pem', now, /builderCrlFile: \S+ holds no PEM block "X509 CRL"$/],
  ['a list that is cut', 'ca.pem', 'cut.crl', now, /builderCrlFile: \S+ cannot be used: /],
  ['two lists', 'ca.pem', 'two.crl', now, /builderCrlFile: \S+ holds more than one list; give one$/],
  [
    'the list of another authority',
    'ca.pem',
    'foreign.crl',
    now,
    /is not signed by the authority in builderCaFile$/,
  ],
  [
    'one by another kind of key',
    'ca.pem',
    'by-rsa.crl',
    now,
    /is not signed by the authority in builderCaFile$/,
  ],
  [
    'a list that ended',
    'ca.pem',
    'empty.crl',
    new Date(now.getTime() + 91 * 86_400_000),
    /builderCrlFile: \S+ ended on 20.*; make the next one$/,
  ],
])('%s is refused in one line that names the parameter', (_what, ca, crl, at, says) => {
  expect(() => trust(ca, crl, at)).toThrow(ParameterError)
  expect(() => trust(ca, crl, at)).toThrow(says)
})

describe('whatever the bytes are', () => {
  const refused = (bytes: Buffer): unknown => {
    try {
      return readRevocationList(bytes).endsAt
    } catch (error) {
      return error
    }
  }

  test('they are a list or refused', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(refused(Buffer.from(bytes))).toBeInstanceOf(RangeError)
      }),
    )
  })

  test('no byte of a list can be changed without its signature knowing', async () => {
    const der = Buffer.from((await text('empty.crl')).replace(/-----.*-----/g, ''), 'base64')
    const [key] = await keys()
    fc.assert(
      fc.property(fc.nat(der.length - 1), fc.integer({ min: 1, max: 255 }), (index, change) => {
        const changed = Buffer.from(der)
        changed.writeUInt8(der.readUInt8(index) ^ change, index)
        const outcome = (() => {
          try {
            return readRevocationList(changed).isSignedBy(key)
          } catch {
            return 'refused'
          }
        })()
        expect(outcome).not.toBe(true)
      }),
      { numRuns: 300 },
    )
  })
})

async function keys() {
  const { X509Certificate } = await import('node:crypto')
  return [new X509Certificate(await text('ca.pem')).publicKey] as const
}

function text(name: string): Promise<string> {
  return readFile(file(name), 'utf8')
}

async function endOf(list: string): Promise<Date> {
  const { stdout } = await run('openssl', ['crl', '-in', file(list), '-noout', '-nextupdate'])
  return new Date(stdout.replace('nextUpdate=', ''))
}

async function makeAuthority(name: string, key?: readonly string[]): Promise<void> {
  if (key === undefined)
    await run('openssl', ['ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', file(`${name}.key`)])
  await run('openssl', [
    'req',
    '-x509',
    ...(key ?? ['-new', '-key', file(`${name}.key`)]),
    '-days',
    '3650',
    '-subj',
    `/O=Example/CN=${name}`,
    '-addext',
    'basicConstraints=critical,CA:TRUE,pathlen:0',
    '-addext',
    'keyUsage=critical,keyCertSign,cRLSign',
    '-out',
    file(`${name}.pem`),
  ])
}

async function makeLeaf(): Promise<void> {
  await run('openssl', ['ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', file('leaf.key')])
  const request = [
    'req',
    '-new',
    '-key',
    file('leaf.key'),
    '-subj',
    '/OU=t_1/CN=builder-1',
    '-out',
    file('leaf.csr'),
  ]
  await run('openssl', request)
  await writeFile(
    file('leaf.ext'),
    'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n',
  )
  const sign = ['x509', '-req', '-in', file('leaf.csr'), '-CA', file('ca.pem'), '-CAkey', file('ca.key')]
  await run('openssl', [
    ...sign,
    '-CAcreateserial',
    '-days',
    '365',
    '-extfile',
    file('leaf.ext'),
    '-out',
    file('leaf.pem'),
  ])
}

async function makeList(
  name: string,
  authority: string,
  days: number,
  before: readonly string[] = [],
): Promise<void> {
  await writeFile(file(`${name}.txt`), '')
  await writeFile(file(`${name}.number`), '1000\n')
  await writeFile(
    file(`${name}.cnf`),
    [
      '[ca]',
      'default_ca=own',
      '[own]',
      `database=${file(`${name}.txt`)}`,
      `crlnumber=${file(`${name}.number`)}`,
      'default_md=sha256',
      `default_crl_days=${days}`,
      '',
    ].join('\n'),
  )
  const common = [
    'ca',
    '-config',
    file(`${name}.cnf`),
    '-keyfile',
    file(`${authority}.key`),
    '-cert',
    file(`${authority}.pem`),
  ]
  if (before.length > 0) await run('openssl', [...common, ...before])
  await run('openssl', [...common, '-gencrl', '-out', file(`${name}.crl`)])
}
