import {
  assess,
  type Benchmark,
  configurationChanges,
  countFlips,
  type EvaluationEvidence,
  flipsBetween,
  releaseFlips,
} from '@crystal-forge/control-plane'
import type { StigReport } from '@crystal-forge/protocol'
import { expect, it } from 'vitest'
import { demoHost, reportOf, theCatalogue } from './demo-host.ts'

const catalogue = theCatalogue()
const AT = new Date('2026-11-24T12:00:00.000Z')

function evaluation(change: (rules: StigReport['rules']) => void = () => undefined): EvaluationEvidence {
  const evaluated = demoHost(catalogue, AT).evaluation
  if (evaluated === null) throw new Error('the demo host is evaluated')
  return { ...evaluated, report: reportOf(catalogue, change) }
}

/** Changes the report of a rule that it has. */
function put(rules: StigReport['rules'], id: string, more: Partial<StigReport['rules'][string]>): void {
  const rule = rules[id]
  if (rule === undefined) throw new Error(`${id} is not in the report`)
  rules[id] = { ...rule, ...more }
}
const lost = (): Pick<StigReport['rules'][string], 'state' | 'actual'> => ({
  state: 'inactive',
  actual: [{ value: 'yes', verdict: 'false' }],
})
const rulesOf = (changes: readonly { readonly rule: string }[]): string[] => changes.map(({ rule }) => rule)

it('a commit that changes nothing opens and closes nothing', () => {
  expect(configurationChanges(catalogue, evaluation(), evaluation())).toEqual({
    opened: [],
    closed: [],
    changed: [],
  })
})

it('what a commit loses is opened, and what it gets back is closed, each with what decides it', () => {
  const worse = evaluation((rules) => put(rules, 'V-268137', { ...lost(), definedIn: ['hosts/web-1.nix'] }))
  const opened = configurationChanges(catalogue, evaluation(), worse)
  expect(opened).toMatchObject({
    opened: [
      {
        rule: 'V-268137',
        before: 'active',
        after: 'inactive',
        because: expect.stringContaining('PermitRootLogin is "yes"'),
        definedIn: ['hosts/web-1.nix'],
      },
    ],
    closed: [],
    changed: [],
  })
  const back = configurationChanges(catalogue, worse, evaluation())
  expect(back).toMatchObject({ opened: [], closed: [{ rule: 'V-268137', after: 'active' }], changed: [] })
})

it('the evaluator is not believed: what its own values do not bear out is opened as well', () => {
  const claims = evaluation((rules) => put(rules, 'V-268137', { ...lost(), state: 'active' }))
  expect(rulesOf(configurationChanges(catalogue, evaluation(), claims).opened)).toEqual(['V-268137'])
})

it('to leave a rule out with a reason opens it, and to lose sight of it does not close it', () => {
  const justified = evaluation((rules) =>
    put(rules, 'V-268139', { state: 'justified', justification: ['no ports'] }),
  )
  expect(rulesOf(configurationChanges(catalogue, evaluation(), justified).opened)).toEqual(['V-268139'])
  const unsupported = evaluation((rules) =>
    put(rules, 'V-268139', { state: 'unsupported', actual: [{ verdict: 'unsupported' }] }),
  )
  expect(configurationChanges(catalogue, justified, unsupported)).toMatchObject({
    opened: [],
    closed: [],
    changed: [{ rule: 'V-268139', before: 'justified', after: 'unsupported' }],
  })
})

it('of a configuration that is new, everything that is open was opened, and nothing else is told', () => {
  const first = evaluation((rules) => put(rules, 'V-268137', lost()))
  const changes = configurationChanges(catalogue, null, first)
  // Beside it rules whose parameters a site has to set.
  expect(rulesOf(changes.opened)).toEqual(['V-268108', 'V-268109', 'V-268124', 'V-268137'])
  expect([changes.closed, changes.changed]).toEqual([[], []])
})

it('a rule that the release of a commit does not have is a change and no finding', () => {
  const before = evaluation()
  const after = evaluation()
  const old = { ...before, report: { ...before.report, release: 'V1R1' } }
  const { opened, changed } = configurationChanges(catalogue, old, after)
  expect(rulesOf(opened)).not.toContain('V-268162')
  // The one that V1R2 dropped.
  expect(changed).toContainEqual(
    expect.objectContaining({ rule: 'V-268162', after: null, because: 'V1R2 does not have it' }),
  )
})

it('flips are every result that differs, and hosts that came or went', () => {
  const host = demoHost(catalogue, AT)
  const drifted = {
    ...host,
    runtime: host.runtime.map((fact) =>
      JSON.stringify(fact.values).includes('tcp_syncookies')
        ? { ...fact, values: { 'net.ipv4.tcp_syncookies': '0' } }
        : fact,
    ),
  }
  const of = (hosts: readonly ReturnType<typeof demoHost>[]) =>
    assess(catalogue, { at: AT, hosts, waivers: [] })
  const flips = flipsBetween(of([host]), of([drifted]))
  expect(flips).toContainEqual({
    system: 'sys_demo1',
    hostname: 'web-1',
    rule: 'V-268141',
    before: 'pass',
    after: 'contradiction',
  })
  expect(countFlips(flips)).toEqual({ opened: 1, closed: 0 })
  expect(countFlips(flipsBetween(of([drifted]), of([host])))).toEqual({
    opened: 0,
    closed: 1,
  })
  expect(flipsBetween(of([host]), of([]))).toHaveLength(103)
  expect(flipsBetween(of([host]), of([host]))).toEqual([])
})

function nextRelease(change: (rules: Benchmark['rules']) => Benchmark['rules']): Benchmark {
  const rules = [...catalogue.rules.values()].flatMap(({ id, stigId, severity, srg, cci, releases }) => {
    const words = releases['V1R2']
    return typeof words === 'object' ? [{ id, stigId, severity, srg, cci, words }] : []
  })
  const { id, title } = catalogue.benchmark
  return { id, title, release: 'V1R3', date: '2026-04-01', rules: change(rules) }
}

it('a release with other words for the same rules flips no host', () => {
  const hosts = [demoHost(catalogue, AT)]
  const same = nextRelease((rules) =>
    rules.map((rule) => ({ ...rule, words: { ...rule.words, check: 'Look again.' } })),
  )
  const bound = [...catalogue.rules.values()].filter(({ assess: { runtime, config } }) =>
    [...runtime, ...config.expect].some((one) => one.releases !== undefined),
  )
  // Checks that are bound to a release by name wait for somebody to say that they are still right.
  const names = new Set(bound.map(({ id }) => id))
  const flips = releaseFlips(catalogue, same, { at: AT, hosts, waivers: [] })
  expect(flips.filter(({ rule }) => !names.has(rule))).toEqual([])
})

it('a rule that a release drops is no result of a host any more, and a new one is none yet', () => {
  const hosts = [demoHost(catalogue, AT)]
  const next = nextRelease((rules) => [
    ...rules.filter(({ id }) => id !== 'V-268078'),
    ...rules.slice(0, 1).map((rule) => ({ ...rule, id: 'V-299999' })),
  ])
  const flips = releaseFlips(catalogue, next, { at: AT, hosts, waivers: [] })
  expect(flips).toContainEqual(expect.objectContaining({ rule: 'V-268078', before: 'pass', after: null }))
  expect(rulesOf(flips)).not.toContain('V-299999')
})
