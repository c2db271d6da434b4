import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { type Answer, casesOf, type Facts } from './case-file.ts'
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
})

/** A vector without a code leaves the code open. */
function stated(wanted: { accept: boolean; code?: string | undefined }, answer: Answer | undefined) {
  return { accept: wanted.accept, code: wanted.code ?? answer?.code }
}

function pathOf(relative: string): string {
  return fileURLToPath(new URL(relative, import.meta.url))
}
