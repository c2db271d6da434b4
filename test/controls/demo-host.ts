import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  alternativesOf,
  type Catalogue,
  checksOf,
  type HostEvidence,
  type Json,
  type KnownWaiver,
  readCatalogue,
  resolveParams,
} from '@crystal-forge/control-plane'
import type { CatalogueRule, RuntimeCheck, StigReport } from '@crystal-forge/protocol'

export const RELEASE = 'V1R2'
export const TOPLEVEL = '/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-nixos-system-web-1-25.11'

const folder = fileURLToPath(new URL('../../catalogue', import.meta.url))

export function catalogueFiles(): ReadonlyMap<string, Uint8Array> {
  return new Map(
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => {
        const file = path.join(entry.parentPath, entry.name)
        return [path.relative(folder, file), readFileSync(file)] as const
      }),
  )
}

export function theCatalogue(): Catalogue {
  const read = readCatalogue(catalogueFiles())
  if (!read.ok) throw new Error(read.faults.join('\n'))
  return read.catalogue
}

/** What a host whose configuration satisfies every rule would report: expectations met, site parameters as the catalogue has them. */
export function reportOf(
  catalogue: Catalogue,
  change: (rules: StigReport['rules']) => void = () => undefined,
): StigReport {
  const rules: StigReport['rules'] = {}
  for (const rule of catalogue.rules.values()) {
    if (typeof rule.releases[RELEASE] !== 'object') continue
    const chosen = rule.assess.config.expect
      .filter((one) => one.releases?.includes(RELEASE) ?? true)
      .flatMap((one) => alternativesOf(one)[0] ?? [])
    rules[rule.id] = {
      state: rule.assess.config.mode === 'none' ? 'manual' : 'active',
      expected: chosen.map(({ option, key = [], op, value, arg, normalise }) => ({
        option: [...option, ...key]
          .map((part) =>
            part === '*' || /^[A-Za-z_][A-Za-z0-9_'-]*$/.test(part) ? part : JSON.stringify(part),
          )
          .join('.'),
        op,
        ...(value === undefined ? {} : { value: plain(resolveParams(value, rule, undefined) ?? null) }),
        ...(arg === undefined ? {} : { arg }),
        ...(normalise === undefined ? {} : { normalise }),
      })),
      actual: chosen.map((one) => ({
        ...found(satisfying(one, rule)),
        verdict: 'true' as const,
      })),
      definedIn: ['hosts/web-1.nix'],
    }
  }
  change(rules)
  return {
    schema: 1,
    release: RELEASE,
    catalogueSha256: catalogue.sha256,
    nixpkgsRev: null,
    configuration: 'web-1',
    rules,
  }
}

export type DemoFact = {
  readonly collector: string
  readonly args: Record<string, Json>
  readonly values: Json
}

/** What a host answers that satisfies the checks of its rules, one fact for each question. */
export function factsOf(catalogue: Catalogue): DemoFact[] {
  const facts = new Map<string, { collector: string; args: Record<string, Json>; values: Json }>()
  for (const rule of catalogue.rules.values())
    for (const check of checksOf(rule, RELEASE)) {
      if (isAnsweredByAnother(check, checksOf(rule, RELEASE))) continue
      const args = Object.fromEntries(
        Object.entries(check.args).map(([name, value]) => [
          name,
          resolveParams(value, rule, undefined) ?? null,
        ]),
      )
      const key = `${check.collector} ${JSON.stringify(args)}`
      const fact = facts.get(key) ?? { collector: check.collector, args, values: {} }
      fact.values = put(fact.values, check.field ?? [], satisfying(check, rule))
      facts.set(key, fact)
    }
  return [...facts.values()]
}

/** Whatever satisfies another check of the same value is not what this one forbids. */
function isAnsweredByAnother(check: RuntimeCheck, all: readonly RuntimeCheck[]): boolean {
  const of = (one: RuntimeCheck) => JSON.stringify([one.collector, one.args, one.field])
  return check.op === 'ne' && all.some((one) => one.op !== 'ne' && of(one) === of(check))
}

export function demoHost(catalogue: Catalogue, at: Date, more: Partial<HostEvidence> = {}): HostEvidence {
  return {
    system: 'sys_demo1',
    hostname: 'web-1',
    environment: 'production',
    flake: 'fleet',
    configuration: 'web-1',
    running: { current: TOPLEVEL, booted: TOPLEVEL, reportSha256: null, at },
    address: { ip: '192.0.2.7', mac: '02:00:00:00:00:07' },
    osVersion: '25.11',
    evaluation: {
      id: 'evl_demo',
      toplevel: TOPLEVEL,
      evaluatedAt: at,
      report: reportOf(catalogue),
      reportSha256: '0'.repeat(64),
    },
    runtime: factsOf(catalogue).map((fact) => ({
      id: 'cfm_demo',
      toplevel: TOPLEVEL,
      ...fact,
      error: null,
      collectedAt: new Date(at.getTime() - 3_600_000),
    })),
    people: [],
    ...more,
  }
}

export function demoWaiver(more: Partial<KnownWaiver> = {}): KnownWaiver {
  return {
    id: 'wvr_demo',
    name: 'no-usbguard',
    rules: ['V-268139'],
    scope: { kind: 'fleet' },
    state: 'approved',
    type: 'risk_accepted',
    justification: 'Virtual machines have no USB ports, "none at all"',
    compensating: '',
    author: 'ada',
    approver: 'grace',
    owner: 'platform',
    milestones: [],
    expiresAt: new Date('2027-03-01T00:00:00Z'),
    ...more,
  }
}

type Asked = {
  readonly op: string
  readonly value?: Json | undefined
  readonly arg?: string | undefined
  readonly normalise?: readonly string[] | undefined
}

function satisfying({ op, value, arg, normalise = [] }: Asked, rule: CatalogueRule): Json | undefined {
  const wanted = resolveParams(value, rule, undefined)
  const plainValue = bare(op, wanted)
  if (normalise.includes('pam-args')) return STACK
  if (plainValue === undefined || arg === undefined) return plainValue
  if (normalise.includes('kv-all')) return ''
  if (normalise.includes('limit-values')) return { [`* hard ${arg}`]: '1' }
  if (normalise.includes('sudo-default'))
    return [`Defaults ${arg}=${isList(plainValue) ? plainValue[0] : ''}`]
  if (!normalise.includes('limits')) return `${arg} = ${String(plainValue)}\n`
  const [domain = '', type = '', item = ''] = arg.split(' ')
  return [{ domain, type, item, value: String(plainValue) }]
}

const isList = (value: Json): value is readonly Json[] => Array.isArray(value)

/** What counts failed attempts, around the module that lets in. */
const STACK: readonly string[] = [
  'auth required pam_faillock.so preauth deny=3 fail_interval=900 unlock_time=0',
  'auth sufficient pam_unix.so',
  'auth [default=die] pam_faillock.so authfail deny=3 fail_interval=900 unlock_time=0',
]

function bare(op: string, wanted: Json | undefined): Json | undefined {
  const list: readonly Json[] = Array.isArray(wanted) ? wanted : []
  switch (op) {
    case 'absent':
      return undefined
    case 'present':
      return 'present'
    case 'ne':
      return Array.isArray(wanted) ? ['other'] : `not ${String(wanted)}`
    case 'in':
      // A release may carry the day on which it ends.
      return typeof list[0] === 'string'
        ? list
            .map(String)
            .at(-1)
            ?.replace(/ until .*$/, '')
        : list[0]
    case 'between':
      return list[0]
    case 'bitsWithin':
      return [wanted ?? null]
    case 'excludes':
      return []
    case 'matches':
      return String(wanted).replaceAll('\\', '').replaceAll('.*', ' ').trim()
    default:
      return wanted
  }
}

function found(value: Json | undefined): { value?: ReturnType<typeof plain> } {
  return value === undefined ? {} : { value: plain(value) }
}

/** A copy whose lists may be changed, as parsed JSON is. */
function plain(value: Json): NonNullable<StigReport['params']>[string] {
  return JSON.parse(JSON.stringify(value))
}

function put(into: Json, field: readonly string[], value: Json | undefined): Json {
  const [name, ...rest] = field
  if (name === undefined) return merge(into, value)
  const object = typeof into === 'object' && into !== null && !Array.isArray(into) ? { ...into } : {}
  const at = Reflect.get(object, name) as Json | undefined
  const inside = rest.length === 0 ? merge(at ?? {}, value) : put(at ?? {}, rest, value)
  return { ...object, [name]: inside }
}

/** Two rules may ask of one list. */
function merge(one: Json, other: Json | undefined): Json {
  if (Array.isArray(one) && Array.isArray(other)) return [...one, ...other]
  if (typeof one === 'string' && Array.isArray(other)) return [one, ...other].join('\n')
  return other ?? one
}
