import { resolve } from 'node:path'
import { type DatabaseTarget, readDatabaseUrl } from '@crystal-forge/postgres'
import { parse } from 'smol-toml'
import * as z from 'zod'

/** What the one-process form of the control plane is told. Secrets are paths, never values. */
export type ServerConfig = {
  readonly host: string
  /** 0: the port of the last start, or a free one. */
  readonly port: number
  /** The public host that callers sign for; undefined: the address it listens on. */
  readonly authority: string | undefined
  readonly dataDir: string
  readonly database:
    | {
        readonly kind: 'embedded'
        /** Holds `initdb` and `postgres` of Postgres 18; undefined: those that npm brings. */
        readonly binaries: string | undefined
      }
    | {
        readonly kind: 'external'
        readonly target: DatabaseTarget
        readonly passwordFile: string | undefined
      }
  /** `AWS_ENDPOINT_URL`; undefined: the embedded emulator. */
  readonly awsEndpoint: string | undefined
  readonly region: string
  readonly tenant: string
  readonly nextReportInS: number
  readonly leaseS: number
  readonly sweepEveryS: number
  /** No fsync, for demonstrations and tests whose data nobody will miss. */
  readonly ephemeral: boolean
}

export type ReadConfig =
  | { readonly ok: true; readonly config: ServerConfig; readonly warnings: readonly string[] }
  | { readonly ok: false; readonly errors: readonly string[] }

type Environment = Readonly<Record<string, string | undefined>>

/**
 * Pure: the file's text (TOML of the original, `compatibility.md` 1.4, or undefined), then the environment over it, then
 * the flags over both. All errors are reported, each with its path.
 */
export function readConfig(environment: Environment, fileText: string | undefined, flags: Flags): ReadConfig {
  const file = readFile(fileText)
  if ('errors' in file) return { ok: false, errors: file.errors }
  const { sections, warnings } = setAside(merge(file.sections, environmentSections(environment)))
  const parsed = schema.safeParse(sections)
  if (!parsed.success)
    return { ok: false, errors: parsed.error.issues.map((issue) => named(issue, sections)) }
  const { server } = parsed.data
  const errors: string[] = []
  const tested = environment['CF_EPHEMERAL'] ?? '0'
  if (tested !== '0' && tested !== '1')
    errors.push(`CF_EPHEMERAL is ${JSON.stringify(tested)}; expected 1 or 0`)
  const config: ServerConfig = {
    host: flags.host ?? server.host,
    port: flags.port ?? server.port,
    authority: server.authority,
    dataDir: resolve(flags.dataDir ?? server.data_directory ?? defaultDataDir(environment)),
    database: readDatabase(environment['DATABASE_URL'], parsed.data, errors),
    awsEndpoint: readEndpoint(environment['AWS_ENDPOINT_URL'], errors),
    region: environment['AWS_REGION'] ?? 'us-east-1',
    tenant: server.tenant,
    nextReportInS: server.next_report_in_s,
    leaseS: server.lease_s,
    sweepEveryS: server.sweep_every_s,
    ephemeral: tested === '1',
  }
  if (config.host !== '127.0.0.1' && config.host !== '::1' && config.host !== 'localhost')
    warnings.push(
      `server.host is ${config.host}: put a TLS proxy before it; the server itself speaks plain HTTP`,
    )
  return errors.length > 0 ? { ok: false, errors } : { ok: true, config, warnings }
}

export type Flags = { readonly host?: string; readonly port?: number; readonly dataDir?: string }

const whole = (least: number, most: number): z.ZodType<number, unknown> =>
  z
    .union(
      [
        z.number(),
        z
          .string()
          .regex(/^[0-9]{1,9}$/)
          .transform(Number),
      ],
      { error: `expected a whole number from ${least} to ${most}` },
    )
    .refine((value) => Number.isInteger(value) && value >= least && value <= most, {
      error: `expected a whole number from ${least} to ${most}`,
    })

const server = z.strictObject({
  host: z.string().min(1).default('127.0.0.1'),
  port: whole(0, 65_535).default(0),
  authority: z.string().min(1).optional(),
  data_directory: z.string().min(1).optional(),
  tenant: z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'expected lower-case letters, digits and "-"')
    .default('default'),
  next_report_in_s: whole(1, 3600).default(600),
  lease_s: whole(5, 3600).default(60),
  sweep_every_s: whole(1, 3600).default(10),
  postgres_directory: z.string().startsWith('/', 'expected an absolute path').optional(),
})

const schema = z.object({
  server: server.prefault({}),
  database: z
    .strictObject({
      host: z.string().min(1),
      port: whole(1, 65_535).default(5432),
      user: z.string().min(1).default('crystal_forge'),
      name: z.string().min(1).default('crystal_forge'),
      password: z.string().optional(),
      password_file: z.string().min(1).optional(),
      ca_file: z.string().min(1).optional(),
    })
    .optional(),
})

/** `server.port is "x": expected …`. A password is not repeated. */
function named(issue: z.core.$ZodIssue, sections: Sections): string {
  const path = issue.path.join('.')
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => `${path}.${key}: there is no such setting`).join('\n')
  const [section, key] = issue.path.map(String)
  const value = section === undefined || key === undefined ? undefined : sections[section]?.[key]
  if (value === undefined) return `${path} is missing: ${issue.message}`
  return key === 'password'
    ? `${path}: ${issue.message}`
    : `${path} is ${JSON.stringify(value)}: ${issue.message}`
}

/** Takes out what the original accepted and what other programs read, so that old files stay valid. Each is named once. */
function setAside(sections: Sections): { sections: Sections; warnings: string[] } {
  const warnings: string[] = []
  const kept: Sections = {}
  for (const [name, section] of Object.entries(sections)) {
    if (name !== 'server' && name !== 'database') {
      const reader = READ_ELSEWHERE[name]
      warnings.push(`section ${name}: ${reader ?? 'no program of ours reads it'}`)
      continue
    }
    const live = Object.entries(section).filter(([key]) => {
      const replacement = name === 'server' ? DEAD[key] : undefined
      if (replacement !== undefined) warnings.push(`server.${key} has no effect: ${replacement}`)
      return replacement === undefined
    })
    kept[name] = Object.fromEntries(live)
  }
  return { sections: kept, warnings }
}

/** Evaluation is the builders' work. */
const DEAD: Readonly<Record<string, string | undefined>> = {
  eval_workers: 'builders evaluate; start more of them, or give one more jobs (build.max_jobs of a builder)',
  eval_max_memory_mb: "the limit is the builder's (evaluate.memory_max of a builder)",
  eval_check_cache: 'a derivation that is in the cache is never built again',
}

const APPLY = 'the server does not read it; declare it with `cf apply -f FILE`'
const BUILDER = 'the server does not read it; builders do'
const READ_ELSEWHERE: Readonly<Record<string, string | undefined>> = {
  flakes: APPLY,
  environments: APPLY,
  systems: APPLY,
  client: 'the server does not read it; agents on hosts do',
  deployment: 'the server does not read it; agents on hosts do',
  build: BUILDER,
  vulnix: BUILDER,
  cache: BUILDER,
  auth: BUILDER,
}

function readDatabase(
  url: string | undefined,
  { server: { postgres_directory: binaries }, database: section }: z.infer<typeof schema>,
  errors: string[],
): ServerConfig['database'] {
  if (url !== undefined && url !== '') {
    try {
      const target = readDatabaseUrl(url)
      if (target.tls !== undefined && target.caFile === undefined)
        errors.push(
          `DATABASE_URL: ${target.host} is not this machine: add ?sslrootcert=FILE with its authorities`,
        )
      return { kind: 'external', target, passwordFile: undefined }
    } catch (error) {
      errors.push(`DATABASE_URL: ${error instanceof Error ? error.message : String(error)}`)
      return { kind: 'embedded', binaries }
    }
  }
  if (section === undefined) return { kind: 'embedded', binaries }
  const local = section.host.startsWith('/') || ['localhost', '127.0.0.1', '::1'].includes(section.host)
  if (!local && section.ca_file === undefined)
    errors.push(
      `database.ca_file is missing: ${section.host} is not this machine, so name its authorities (PEM)`,
    )
  const target = {
    host: section.host,
    port: section.port,
    database: section.name,
    user: section.user,
    password: section.password,
    tls: local ? undefined : { servername: section.host },
    caFile: section.ca_file,
  }
  return { kind: 'external', target, passwordFile: section.password_file }
}

function readEndpoint(url: string | undefined, errors: string[]): string | undefined {
  if (url === undefined || url === '') return undefined
  if (/^https?:$/.test(URL.canParse(url) ? new URL(url).protocol : '')) return url
  errors.push(`AWS_ENDPOINT_URL is ${JSON.stringify(url)}; expected an address such as http://127.0.0.1:4566`)
  return undefined
}

type Sections = Record<string, Record<string, unknown>>

/** Section and key names are compared without regard to case: the original wrote both. */
function readFile(text: string | undefined): { sections: Sections } | { errors: string[] } {
  if (text === undefined) return { sections: {} }
  try {
    const raw: Record<string, unknown> = text.trimStart().startsWith('{') ? JSON.parse(text) : parse(text)
    const errors = ['server', 'database'].flatMap((wanted) =>
      Object.entries(raw)
        .filter(([name, value]) => name.toLowerCase() === wanted && !isSection(value))
        .map(([name, value]) => `${name} is ${JSON.stringify(value)}: expected a section with settings`),
    )
    return errors.length > 0 ? { errors } : { sections: lowerCase(raw) }
  } catch (error) {
    return { errors: [`configuration file: ${error instanceof Error ? error.message : String(error)}`] }
  }
}

function isSection(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function lowerCase(raw: Record<string, unknown>): Sections {
  const sections: Sections = {}
  for (const [name, section] of Object.entries(raw)) {
    // Lists of tables (`[[systems]]`) belong to sections that the server does not read, so their name is enough.
    sections[name.toLowerCase()] = Object.fromEntries(
      Object.entries(section ?? {}).map(([key, value]) => [key.toLowerCase(), value]),
    )
  }
  return sections
}

/** `CRYSTAL_FORGE__SECTION__KEY`, the original's names, in either case. */
function environmentSections(environment: Environment): Sections {
  const sections: Sections = {}
  for (const [name, value] of Object.entries(environment)) {
    const [, section, key] = /^CRYSTAL_FORGE__([A-Z0-9_]+?)__([A-Z0-9_]+)$/i.exec(name) ?? []
    if (section === undefined || key === undefined || value === undefined) continue
    sections[section.toLowerCase()] = { ...sections[section.toLowerCase()], [key.toLowerCase()]: value }
  }
  return sections
}

function merge(under: Sections, over: Sections): Sections {
  const merged: Sections = { ...under }
  for (const [name, section] of Object.entries(over)) merged[name] = { ...merged[name], ...section }
  return merged
}

function defaultDataDir(environment: Environment): string {
  const state = environment['XDG_STATE_HOME'] || `${environment['HOME'] ?? '.'}/.local/state`
  return `${state}/crystal-forge`
}
