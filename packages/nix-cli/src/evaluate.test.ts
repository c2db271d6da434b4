import { mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type FleetRepository, fleetRepository } from '../../../test/fixtures/fleet/repository.ts'
import {
  configurationNames,
  type Evaluator,
  evaluateAll,
  evaluateConfiguration,
  parseEvaluation,
} from './evaluate.ts'
import type { FlakeReference } from './flake-reference.ts'
import { evaluationEnvironment } from './nix-environment.ts'
import { testNix } from './test-nix.ts'

const nix = await testNix()
const directory = realpathSync(mkdtempSync(join(tmpdir(), 'evaluate-')))
let fleet: FleetRepository
let flake: FlakeReference
let evaluator: Evaluator

beforeAll(() => {
  fleet = fleetRepository(join(directory, 'fleet'))
  flake = { kind: 'local', path: fleet.path, rev: fleet.rev }
  if (nix.kind === 'none') return
  evaluator = {
    env: evaluationEnvironment(nix.setup(directory), { allowedUris: [], importFromDerivation: false }),
    store: nix.store,
    policy: { hosts: [], localPaths: [directory] },
    timeoutMs: 30_000,
  }
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

describe.skipIf(nix.kind === 'none')(`evaluation ${nix.note}`, () => {
  it('lists the configurations', async () => {
    expect(await configurationNames(evaluator, flake)).toEqual({
      kind: 'names',
      names: ['broken-build', 'broken-eval', 'db-1', 'legacy-1', 'web-1', 'web-2'],
    })
  })

  it('evaluates each by itself and reports progress', async () => {
    const progress: string[] = []
    const outcomes = await evaluateAll(evaluator, flake, {
      names: ['broken-build', 'broken-eval', 'db-1', 'legacy-1', 'web-1', 'web-2'],
      extras: {
        host: ['config', 'networking', 'hostName'],
        nothing: ['config', 'no', 'such', 'option'],
        // biome-ignore lint/suspicious/noTemplateCurlyInString: text that would be code if it were not escaped
        'needs "care" ${builtins.currentTime}': ['config', 'a"; throw "injected', '${x}', '\\'],
      },
      concurrency: 3,
      onProgress: ({ done, total }) => progress.push(`${done}/${total}`),
    })
    expect(progress).toEqual(['1/6', '2/6', '3/6', '4/6', '5/6', '6/6'])
    expect(outcomes.get('web-1')).toEqual({
      kind: 'ok',
      drvPath: expect.stringMatching(/-nixos-system-web-1-25\.11\.drv$/),
      outPath: expect.stringMatching(/-nixos-system-web-1-25\.11$/),
      system: 'x86_64-linux',
      agentEnabled: true,
      stig: { kind: 'value', json: expect.stringContaining('"V-268137":{"actual":"no"') },
      extras: {
        host: { kind: 'value', json: '"web-1"' },
        nothing: { kind: 'absent' },
        'needs "care" ${builtins.currentTime}': { kind: 'absent' },
      },
    })
    expect(outcomes.get('legacy-1')).toMatchObject({
      kind: 'ok',
      agentEnabled: false,
      stig: { kind: 'absent' },
    })
    expect(outcomes.get('broken-build')).toMatchObject({ kind: 'ok' })
    expect(outcomes.get('broken-eval')).toMatchObject({
      kind: 'error',
      class: 'eval',
      message: expect.stringMatching(/^The option `services\.ngnix\.enable' does not exist\. .*Did you mean/),
    })
  })

  it('a change of one version changes exactly that host', async () => {
    const rev = fleet.commit({ file: 'hosts/web-1.nix', replace: 'nginx = "1.26.1"', by: 'nginx = "1.26.2"' })
    const all = { names: ['db-1', 'legacy-1', 'web-1', 'web-2'], extras: {}, concurrency: 2 }
    const [before, after] = [
      await evaluateAll(evaluator, flake, all),
      await evaluateAll(evaluator, { ...flake, rev }, all),
    ]
    const changed = all.names.filter(
      (name) => JSON.stringify(before.get(name)) !== JSON.stringify(after.get(name)),
    )
    expect(changed).toEqual(['web-1'])
  })

  it('a revision that does not exist is the fault of nobody who wrote the flake', async () => {
    const outcome = await configurationNames(evaluator, { ...flake, rev: 'f'.repeat(40) })
    expect(outcome).toMatchObject({ kind: 'error', class: 'infra' })
  })

  it('refuses a name that could be more than a name, and a repository that is not declared', async () => {
    expect(
      await evaluateConfiguration(evaluator, flake, { name: 'a" or throw "x', extras: {} }),
    ).toMatchObject({
      kind: 'error',
      class: 'eval',
      message: expect.stringContaining('cannot be used'),
    })
    await expect(configurationNames(evaluator, { ...flake, kind: 'local', path: '/etc' })).rejects.toThrow(
      'not declared',
    )
  })

  it('an unknown configuration is an evaluation error that names it', async () => {
    expect(await evaluateConfiguration(evaluator, flake, { name: 'web-9', extras: {} })).toMatchObject({
      class: 'eval',
      message: expect.stringContaining('web-9'),
    })
  })

  it('a timeout and a cancellation are told apart from a verdict', async () => {
    expect(await configurationNames({ ...evaluator, timeoutMs: 1 }, flake)).toMatchObject({
      class: 'timeout',
    })
    expect(await configurationNames({ ...evaluator, signal: AbortSignal.abort() }, flake)).toMatchObject({
      class: 'cancelled',
    })
  })

  it.each([
    ['builtins.readFile /etc/hostname', /absolute path|restricted|forbidden/],
    ['builtins.fetchurl "http://127.0.0.1:9/x"', /sha256|forbidden|restricted/],
    [
      'toString (import (derivation { name = "x"; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" "echo 1 > $out" ]; }))',
      /import-from-derivation/,
    ],
  ])('a flake cannot evaluate %s', async (expression, why) => {
    const hostile = fleetRepository(join(directory, `hostile-${why.source.length}`))
    const rev = hostile.commit({
      file: 'hosts/db-1.nix',
      replace: 'hostName = "db-1"',
      by: `hostName = ${expression}`,
    })
    const outcome = await evaluateConfiguration(
      evaluator,
      { kind: 'local', path: hostile.path, rev },
      { name: 'db-1', extras: {} },
    )
    expect(outcome).toMatchObject({ kind: 'error', class: 'eval', message: expect.stringMatching(why) })
  })
})

describe('an answer of nix eval', () => {
  const answer = {
    derivation: '/nix/store/57r9g87415dasispcdz03qm7wfrlm2yx-x.drv',
    output: '/nix/store/wijq7srhzn0p3bp1yc0825r42bb83w14-x',
    system: null,
    agent: false,
    values: {},
  }
  it.each([
    ['no JSON', 'nope'],
    ['a list', '[]'],
    ['a derivation that is none', JSON.stringify({ ...answer, derivation: answer.output })],
    ['a path elsewhere', JSON.stringify({ ...answer, output: '/tmp/x' })],
    ['a missing field', JSON.stringify({ ...answer, agent: undefined })],
  ])('with %s is refused', (_, json) => {
    expect(parseEvaluation(json, [])).toMatchObject({ kind: 'error', class: 'eval' })
  })

  it('gives an extra that is not in it as absent', () => {
    expect(parseEvaluation(JSON.stringify(answer), ['x'])).toMatchObject({
      kind: 'ok',
      extras: { x: { kind: 'absent' } },
    })
  })
})
