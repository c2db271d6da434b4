import { parse } from 'smol-toml'
import type * as z from 'zod'
import { type Destination, readDestination } from './cache-destination.ts'
import { configSchema, KNOWN_KEYS } from './config-schema.ts'

type Sections = z.infer<typeof configSchema>

/** What a builder is told. Secrets are paths, never values. */
export type BuilderConfig = Omit<Sections['builder'], 'parallel_uploads'> &
  Pick<Sections, 'build' | 'vulnix' | 'auth'> & {
    readonly parallel_uploads: number
    /** Where closures go beside the control plane's cache. */
    readonly destination: Destination | null
  }

export type ReadConfig =
  | { readonly ok: true; readonly config: BuilderConfig; readonly warnings: readonly string[] }
  | { readonly ok: false; readonly errors: readonly string[] }

/**
 * Pure: the file (TOML or JSON with the original's sections `build`, `vulnix`, `cache`, `auth` and ours `builder`), then
 * `CRYSTAL_FORGE__SECTION__KEY` over it. All errors are reported, each with its path, its value and what is expected.
 */
export function readConfig(
  environment: Readonly<Record<string, string | undefined>>,
  fileText: string | undefined,
): ReadConfig {
  let raw: Record<string, unknown>
  try {
    raw = fileText === undefined ? {} : parseFile(fileText)
  } catch (error) {
    return {
      ok: false,
      errors: [`configuration file: ${error instanceof Error ? error.message : String(error)}`],
    }
  }
  const given = overlay(lowerCase(raw), environment)
  const errors = refused(given)
  const parsed = configSchema.safeParse({ ...given, builder: given['builder'] ?? {} })
  if (!parsed.success) {
    errors.push(...parsed.error.issues.map((issue) => explain(issue, given)))
    return { ok: false, errors }
  }
  const { builder, cache, ...rest } = parsed.data
  const plain = plainHttpProblem(builder.server_url, builder.allow_plain_http)
  if (plain !== undefined) errors.push(plain)
  const elsewhere = readDestination(cache)
  if (!elsewhere.ok) errors.push(...elsewhere.errors)
  if (errors.length > 0 || !elsewhere.ok) return { ok: false, errors }
  const uploads = builder.parallel_uploads ?? cache.parallel_uploads ?? PARALLEL_UPLOADS
  const config = { ...builder, ...rest, parallel_uploads: uploads, destination: elsewhere.destination }
  return { ok: true, config, warnings: [...dead(given), ...unknown(given), ...elsewhere.warnings] }
}

function parseFile(text: string): Record<string, unknown> {
  if (!text.trimStart().startsWith('{')) return parse(text)
  const json: unknown = JSON.parse(text)
  return Object.fromEntries(Object.entries(json ?? {}))
}

function explain(issue: z.core.$ZodIssue, given: Given): string {
  const [section = '', key = ''] = issue.path.map(String)
  const value = given[section]?.[key]
  const name = issue.path.join('.')
  if (value === undefined)
    return `${name}: is missing; set it in [${section}] or by CRYSTAL_FORGE__${section.toUpperCase()}__${key.toUpperCase()}`
  return `${name}: ${issue.message}, not ${JSON.stringify(value).slice(0, 200)}`
}

/** Signed requests cannot be forged over plain HTTP, but what they carry can be read: only loopback may be plain. */
function plainHttpProblem(serverUrl: string, allowed: boolean): string | undefined {
  const url = new URL(serverUrl)
  const loopback = ['127.0.0.1', '[::1]', 'localhost'].includes(url.hostname)
  if (url.protocol === 'https:' || loopback || allowed) return undefined
  return `builder.server_url: ${serverUrl} is plain HTTP; use https or set builder.allow_plain_http = true`
}

/** A secret in a configuration file ends up in backups, in the Nix store and in error messages. */
function refused(given: Given): string[] {
  return given['cache']?.['attic_token'] === undefined
    ? []
    : [
        'cache.attic_token: a token does not belong here; write it into a file of mode 0600 and set cache.attic_token_file',
      ]
}

function dead(given: Given): string[] {
  return DEAD.flatMap(([section, key, instead]) => {
    const value = given[section]?.[key]
    const without = value === undefined || value === false || value === 'false'
    return without ? [] : [`${section}.${key} has no effect any more; ${instead}`]
  })
}

function unknown(given: Given): string[] {
  return Object.entries(KNOWN_KEYS).flatMap(([section, known]) =>
    Object.keys(given[section] ?? {})
      .filter((key) => !known.includes(key) && !DEAD.some(([of, name]) => of === section && name === key))
      .map((key) => `${section}.${key} is not known and has no effect; --help lists what there is`),
  )
}

type Given = Readonly<Record<string, Readonly<Record<string, unknown>> | undefined>>

function lowerCase(raw: Record<string, unknown>): Given {
  const sections: Record<string, Record<string, unknown>> = {}
  for (const [name, section] of Object.entries(raw))
    if (typeof section === 'object' && section !== null && !Array.isArray(section))
      sections[name.toLowerCase()] = Object.fromEntries(
        Object.entries(section).map(([key, value]) => [key.toLowerCase(), value]),
      )
  return sections
}

function overlay(file: Given, environment: Readonly<Record<string, string | undefined>>): Given {
  const merged: Record<string, Readonly<Record<string, unknown>> | undefined> = { ...file }
  for (const [name, value] of Object.entries(environment)) {
    const [, section, key] = /^CRYSTAL_FORGE__([A-Z0-9_]+?)__([A-Z0-9_]+)$/i.exec(name) ?? []
    if (section === undefined || key === undefined || value === undefined) continue
    merged[section.toLowerCase()] = { ...merged[section.toLowerCase()], [key.toLowerCase()]: value }
  }
  return merged
}

/** Accepted because files of the original hold them. */
const DEAD = [
  ['build', 'poll_interval', 'builders are woken by a queue'],
  ['build', 'cores', 'use build.cores_per_job'],
  ['vulnix', 'max_retries', 'retries follow the class of the failure'],
  ['vulnix', 'poll_interval', 'builders are woken by a queue'],
  ['auth', 'ssh_disable_strict_host_checking', 'host keys are always checked; use auth.ssh_known_hosts_path'],
  ['cache', 'max_retries', 'retries follow the class of the failure'],
  ['cache', 'retry_delay_seconds', 'retries follow the class of the failure'],
  ['cache', 'poll_interval', 'a closure is pushed as soon as it is built'],
  ['cache', 'force_repush', 'what a cache has is never sent again; remove it there first'],
  ['cache', 'require_sigs', 'signatures are always required'],
  ['cache', 's3_region', "the control plane names its bucket's region"],
  ['cache', 's3_profile', 'set AWS_PROFILE, or use IAM Roles Anywhere'],
] as const
const PARALLEL_UPLOADS = 8
