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
    | { readonly kind: 'embedded' }
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
  const warnings: string[] = []
  const merged = merge(file.sections, environmentSections(environment))
  const parsed = schema.safeParse(merged)
  if (!parsed.success)
    return {
      ok: false,
      errors: parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`),
    }
  const { server, database } = parsed.data
  const errors: string[] = []
  const config: ServerConfig = {
    host: flags.host ?? server.host,
    port: flags.port ?? server.port,
    authority: server.authority,
    dataDir: resolve(flags.dataDir ?? server.data_directory ?? defaultDataDir(environment)),
    database: readDatabase(environment['DATABASE_URL'], database, errors),
    awsEndpoint: environment['AWS_ENDPOINT_URL'],
    region: environment['AWS_REGION'] ?? 'us-east-1',
    tenant: server.tenant,
    nextReportInS: server.next_report_in_s,
    leaseS: server.lease_s,
    sweepEveryS: server.sweep_every_s,
    ephemeral: environment['CF_EPHEMERAL'] === '1',
  }
  if (config.host !== '127.0.0.1' && config.host !== '::1' && config.host !== 'localhost')
    warnings.push(
      `server.host is ${config.host}: put a TLS proxy before it; the server itself speaks plain HTTP`,
    )
  return errors.length > 0 ? { ok: false, errors } : { ok: true, config, warnings }
}

export type Flags = { readonly host?: string; readonly port?: number; readonly dataDir?: string }

const whole = (least: number, most: number): z.ZodType<number, unknown> =>
  z.coerce.number().int().min(least).max(most)

const schema = z.object({
  server: z
    .object({
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
    })
    .default({
      host: '127.0.0.1',
      port: 0,
      tenant: 'default',
      next_report_in_s: 600,
      lease_s: 60,
      sweep_every_s: 10,
    }),
  database: z
    .object({
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

type DatabaseSection = z.infer<typeof schema>['database']

function readDatabase(
  url: string | undefined,
  section: DatabaseSection,
  errors: string[],
): ServerConfig['database'] {
  if (url !== undefined && url !== '') {
    try {
      return { kind: 'external', target: readDatabaseUrl(url), passwordFile: undefined }
    } catch (error) {
      errors.push(`DATABASE_URL: ${error instanceof Error ? error.message : String(error)}`)
      return { kind: 'embedded' }
    }
  }
  if (section === undefined) return { kind: 'embedded' }
  const local = section.host.startsWith('/') || ['localhost', '127.0.0.1', '::1'].includes(section.host)
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

type Sections = Record<string, Record<string, unknown>>

/** Section and key names are compared without regard to case: the original wrote both. */
function readFile(text: string | undefined): { sections: Sections } | { errors: string[] } {
  if (text === undefined) return { sections: {} }
  try {
    const raw: Record<string, unknown> = text.trimStart().startsWith('{') ? JSON.parse(text) : parse(text)
    return { sections: lowerCase(raw) }
  } catch (error) {
    return { errors: [`configuration file: ${error instanceof Error ? error.message : String(error)}`] }
  }
}

function lowerCase(raw: Record<string, unknown>): Sections {
  const sections: Sections = {}
  for (const [name, section] of Object.entries(raw)) {
    if (typeof section !== 'object' || section === null || Array.isArray(section)) continue
    sections[name.toLowerCase()] = Object.fromEntries(
      Object.entries(section).map(([key, value]) => [key.toLowerCase(), value]),
    )
  }
  return sections
}

/** `CRYSTAL_FORGE__SECTION__KEY`, the original's names. */
function environmentSections(environment: Environment): Sections {
  const sections: Sections = {}
  for (const [name, value] of Object.entries(environment)) {
    const [, section, key] = /^CRYSTAL_FORGE__([A-Z0-9_]+?)__([A-Z0-9_]+)$/.exec(name) ?? []
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
  const state = environment['XDG_STATE_HOME'] ?? `${environment['HOME'] ?? '.'}/.local/state`
  return `${state}/crystal-forge`
}
