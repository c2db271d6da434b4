import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type Answer, CaseFileError, casesOf, type Facts } from './case-file.ts'
import { runDeploymentEnvelopes } from './deployment-envelopes.ts'
import { runEd25519 } from './ed25519.ts'
import { runNarinfo } from './narinfo.ts'
import { runOriginalWire } from './original-wire.ts'
import { runRfc9421 } from './rfc9421.ts'
import { runSignedRequests } from './signed-requests.ts'
import { runWebhooks } from './webhooks.ts'

type Suite = readonly [
  name: string,
  file: string,
  run: (file: unknown) => Promise<readonly Answer[]>,
  expected: (facts: Facts) => { accept: boolean; code?: string | undefined },
]

const SUITES: readonly Suite[] = [
  [
    'signed-requests',
    'signed-requests.json',
    runSignedRequests,
    (facts) => {
      const expected = facts.object('expect')
      return { accept: (expected.number('status') ?? 500) < 300, code: expected.text('code') }
    },
  ],
  [
    'signed-requests of a peer',
    'signed-requests-peer.json',
    runSignedRequests,
    (facts) => {
      const expected = facts.object('expect')
      return { accept: expected.flag('accept') === true, code: expected.text('code') }
    },
  ],
  [
    'rfc9421',
    'rfc9421-appendix-b.json',
    runRfc9421,
    (facts) => ({ accept: facts.text('expected') === 'valid' && facts.text('alg') === 'ed25519' }),
  ],
  ['ed25519', 'ed25519-speccheck.json', runEd25519, (facts) => ({ accept: facts.flag('valid') === true })],
  [
    'original-wire',
    'original-wire.json',
    runOriginalWire,
    (facts) => ({
      accept: facts.flag('ours_accepts') ?? facts.text('ours_accepts')?.startsWith('only if') === true,
    }),
  ],
  ['narinfo', 'narinfo-signatures.json', runNarinfo, (facts) => ({ accept: facts.flag('valid') === true })],
  ['webhooks', 'webhooks.json', runWebhooks, (facts) => ({ accept: facts.flag('valid') === true })],
  [
    'deployment-envelopes',
    'deployment-envelopes.json',
    runDeploymentEnvelopes,
    (facts) => ({ accept: facts.flag('valid') === true }),
  ],
]

describe.each(SUITES)('the product answers %s', (_name, path, run, expected) => {
  const file: unknown = JSON.parse(readFileSync(pathOf(`../vectors/${path}`), 'utf8'))

  it('as every vector states, in order', async () => {
    const answers = await run(file)
    const wanted = casesOf(file).map(({ id, facts }, at) => ({ id, ...stated(expected(facts), answers[at]) }))
    expect(answers).toEqual(wanted)
  })
})

describe('the conformance program', () => {
  const run = promisify(execFile)
  const main = pathOf('./main.ts')

  it('prints one line a case and nothing else', async () => {
    const file = pathOf('../vectors/narinfo-signatures.json')
    const { stdout, stderr } = await run(process.execPath, [main, 'narinfo', file])
    const lines = stdout.trimEnd().split('\n')
    expect(lines).toHaveLength(12)
    expect(JSON.parse(lines[0] ?? '')).toEqual({ id: 'curl-7.82.0-bin', accept: true, code: 'accepted' })
    expect(stderr).toBe('')
  })

  it('ends with 2 for an unknown suite or a file that it cannot read', async () => {
    for (const args of [['tea-leaves', 'x.json'], ['narinfo'], ['narinfo', '/does/not/exist.json']]) {
      await expect(run(process.execPath, [main, ...args])).rejects.toMatchObject({ code: 2, stdout: '' })
    }
  })

  it('ends with 2 and says so when no cases can be found in the file', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'cf-conformance-'))
    onTestFinished(() => rm(directory, { recursive: true }))
    const file = join(directory, 'cases.json')
    for (const [suite, text, words] of [
      ['webhooks', '{"case":[]}', 'it has no cases'],
      ['ed25519', 'null', 'it has no cases'],
      ['narinfo', '', 'cannot read'],
    ] as const) {
      await writeFile(file, text)
      const ended = { code: 2, stdout: '', stderr: expect.stringContaining(words) }
      await expect(run(process.execPath, [main, suite, file])).rejects.toMatchObject(ended)
    }
  })
})

describe('a case file', () => {
  const suites = SUITES.map(([name, , suite]) => [name, suite] as const)

  it.each(suites)('of %s is an object with a list of cases, or the list itself', async (_name, suite) => {
    for (const file of [{}, null, 5, 'x', { cases: {} }, { vectors: 'x' }]) {
      await expect(suite(file)).rejects.toThrow(CaseFileError)
    }
    for (const file of [[], { cases: [] }, { tests: [], more: 1 }, { vectors: [] }]) {
      expect(await suite(file)).toEqual([])
    }
  })

  it.each(suites)('of %s gives a refusal for what is no case', async (_name, suite) => {
    const answers = await suite({ cases: [null, 1, 'x', [], {}, { id: 'named' }] })
    expect(answers.map(({ id, accept }) => [id, accept])).toEqual(
      [1, 2, 3, 4, 5, 'named'].map((id) => [id, false]),
    )
  })

  it('names a provider in any spelling', async () => {
    const standard = {
      secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
      body: '{"test": 2432232314}',
      headers: {
        'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
        'webhook-timestamp': '1614265330',
        'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
      },
    }
    for (const provider of [
      'gitlab',
      'GitLab',
      'gitlab_standard',
      'standard-webhooks',
      'Standard Webhooks',
    ]) {
      expect(await runWebhooks([{ ...standard, provider }])).toEqual([
        { id: 1, accept: true, code: 'accepted' },
      ])
    }
    expect(await runWebhooks([{ ...standard, provider: 'sourcehut' }])).toMatchObject([
      { code: 'unknown_provider' },
    ])
  })

  it('lists the keys of a cache by name or as Nix does, for all cases or for one', async () => {
    const { public_keys, cases } = read('narinfo-signatures.json')
    const name = 'cache.nixos.org-1'
    const entry = `${name}:${public_keys[name]}`
    const [good] = cases
    for (const file of [
      { cases: [good], public_keys: { [name]: public_keys[name] } },
      { cases: [good], public_keys: { [name]: entry } },
      { cases: [good], keys: { [name]: { pub_b64: public_keys[name] } } },
      { cases: [good], trusted_public_keys: ['other-1:AAAA', entry] },
      [{ ...good, public_keys: [entry] }],
    ]) {
      expect(await runNarinfo(file)).toMatchObject([{ accept: true }])
    }
    expect(await runNarinfo([good])).toMatchObject([{ code: 'bad_signature' }])
  })

  it('may hold an envelope as a text, a time for one case, and two keys of one person', async () => {
    const { keys, context, cases } = read('deployment-envelopes.json')
    const [{ envelope }] = cases
    const text = JSON.stringify(envelope)
    const { operator_alice: alice, operator_bob: bob, ...rest } = keys
    const codes = async (file: object) => (await runDeploymentEnvelopes(file)).map(({ code }) => code)
    expect(
      await codes({
        keys,
        context,
        cases: [
          { envelope: text },
          { envelope: text.replace('{', '{"payload":"",') },
          { envelope, now: '2026-11-22T21:00:00Z' },
          { envelope, context: { agent_last_sequence: 42 } },
        ],
      }),
    ).toEqual(['accepted', 'malformed_envelope', 'expired', 'stale_sequence'])
    const alone = { ...rest, operator_alice: alice, operator_alice_2: bob }
    expect(await codes({ keys: alone, context, cases: [{ envelope }] })).toEqual(['operators_missing'])
    const named = { ...rest, operator_alice: alice, operator_alice_2: { ...bob, person: 'bob' } }
    expect(await codes({ keys: named, context, cases: [{ envelope }] })).toEqual(['accepted'])
  })

  it('may write a message of RFC 9421 member by member, and one whose field is malformed says so', async () => {
    const { keys, cases } = read('rfc9421-appendix-b.json')
    const example = cases.find(({ id }: { id: string }) => id === 'B.2.6')
    const message = {
      method: 'POST',
      target: '/foo?param=Value&Pet=dog',
      headers: {
        Host: 'example.com',
        Date: 'Tue, 20 Apr 2021 02:07:55 GMT',
        'Content-Type': 'application/json',
        'Content-Length': '18',
      },
    }
    const answers = await runRfc9421({
      keys,
      cases: [
        { ...example, message },
        { ...example, message, signature_input: 'sig-b26=(@1)' },
        { ...example, message, signature_input: '' },
      ],
    })
    expect(answers.map(({ code }) => code)).toEqual(['accepted', 'malformed_signature_input', 'unsigned'])
  })
})

// biome-ignore lint/suspicious/noExplicitAny: a file of vectors has whatever shape it has; a wrong guess fails the test.
function read(name: string): any {
  return JSON.parse(readFileSync(pathOf(`../vectors/${name}`), 'utf8'))
}

/** A vector without a code leaves the code open. */
function stated(wanted: { accept: boolean; code?: string | undefined }, answer: Answer | undefined) {
  return { accept: wanted.accept, code: wanted.code ?? answer?.code }
}

function pathOf(relative: string): string {
  return fileURLToPath(new URL(relative, import.meta.url))
}
