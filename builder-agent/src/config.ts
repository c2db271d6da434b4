import { parse } from 'smol-toml'
import * as z from 'zod'

/** What a builder is told. Secrets are paths, never values. */
export type BuilderConfig = z.infer<typeof builder> & {
  readonly build: z.infer<typeof build>
  readonly vulnix: z.infer<typeof vulnix>
  readonly auth: z.infer<typeof auth>
}

export type ReadConfig =
  | { readonly ok: true; readonly config: BuilderConfig; readonly warnings: readonly string[] }
  | { readonly ok: false; readonly errors: readonly string[] }

/**
 * Pure: the file (TOML with the original's sections `build`, `vulnix`, `auth` and ours `builder`), then
 * `CRYSTAL_FORGE__SECTION__KEY` over it. All errors are reported, each with its path.
 */
export function readConfig(
  environment: Readonly<Record<string, string | undefined>>,
  fileText: string | undefined,
): ReadConfig {
  let raw: Record<string, unknown>
  try {
    raw = fileText === undefined ? {} : parse(fileText)
  } catch (error) {
    return {
      ok: false,
      errors: [`configuration file: ${error instanceof Error ? error.message : String(error)}`],
    }
  }
  const sections = overlay(lowerCase(raw), environment)
  const parsed = schema.safeParse(sections)
  if (!parsed.success)
    return {
      ok: false,
      errors: parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`),
    }
  const { builder: own, ...rest } = parsed.data
  const plain = plainHttpProblem(own.server_url, own.allow_plain_http)
  if (plain !== undefined) return { ok: false, errors: [plain] }
  return { ok: true, config: { ...own, ...rest }, warnings: dead(sections) }
}

/** Signed requests cannot be forged over plain HTTP, but what they carry can be read: only loopback may be plain. */
function plainHttpProblem(serverUrl: string, allowed: boolean): string | undefined {
  const url = new URL(serverUrl)
  const loopback = ['127.0.0.1', '[::1]', 'localhost'].includes(url.hostname)
  if (url.protocol === 'https:' || loopback || allowed) return undefined
  return `builder.server_url: ${serverUrl} is plain HTTP; use https or set builder.allow_plain_http = true`
}

function dead(sections: Record<string, Record<string, unknown>>): string[] {
  const warnings: string[] = []
  for (const [section, key, instead] of DEAD)
    if (sections[section]?.[key] !== undefined)
      warnings.push(`${section}.${key} has no effect any more; ${instead}`)
  return warnings
}

/** Accepted because files of the original hold them. */
const DEAD = [
  ['build', 'poll_interval', 'builders are woken by a queue'],
  ['build', 'cores', 'use build.cores_per_job'],
  ['vulnix', 'max_retries', 'retries follow the class of the failure'],
  ['vulnix', 'poll_interval', 'builders are woken by a queue'],
  ['auth', 'ssh_disable_strict_host_checking', 'host keys are always checked; use auth.ssh_known_hosts_path'],
] as const

/** Seconds, or a text such as "10m", "1h 30m". */
const duration = z.union([z.coerce.number().min(0), z.string()]).transform((value, context) => {
  if (typeof value === 'number') return value
  const parts = [...value.matchAll(/(\d+)\s*(ms|s|sec|m|min|h|d)\b\s*/g)]
  if (parts.length === 0 || parts.map((part) => part[0]).join('').length !== value.length) {
    context.addIssue({
      code: 'custom',
      message: `"${value}" is not a duration; write seconds or a text like "10m"`,
    })
    return z.NEVER
  }
  return parts.reduce((sum, [, count, unit]) => sum + Number(count) * (UNITS[unit ?? 's'] ?? 1), 0)
})
const UNITS: Readonly<Record<string, number>> = {
  ms: 0.001,
  s: 1,
  sec: 1,
  m: 60,
  min: 60,
  h: 3600,
  d: 86_400,
}

const flag = z.union([z.boolean(), z.enum(['true', 'false']).transform((text) => text === 'true')])
const count = (least: number, most: number): z.ZodType<number, unknown> =>
  z.coerce.number().int().min(least).max(most)
const list = z.union([
  z.array(z.string()),
  z.string().transform((text) => text.split(/[\s,]+/).filter((item) => item !== '')),
])

const builder = z.object({
  server_url: z.url(),
  authority: z.string().min(1).optional(),
  allow_plain_http: flag.default(false),
  /** File with this builder's key: base64 of a 32-byte seed, mode 0600. */
  private_key: z.string().min(1),
  /** The control plane's key for job documents, base64 of 32 bytes. A builder does nothing without its signature. */
  job_public_key: z.string().regex(/^[A-Za-z0-9+/]{43}=$/, 'expected the base64 of 32 bytes'),
  state_directory: z.string().min(1).default('/var/lib/crystal-forge-builder'),
  systems: list.default(['x86_64-linux']),
  /** Forges that flakes may come from, lower case, with `:port` where it is not the usual one. */
  forges: list.default(['github.com', 'gitlab.com', 'codeberg.org', 'bitbucket.org']),
  /** Absolute paths whose repositories an administrator declared local. */
  local_flakes: list.default([]),
  /** Prefixes of addresses that the inputs of a flake may come from, beside the forges. */
  allowed_uris: list.default([]),
  concurrent_evaluations: count(1, 64).default(2),
  evaluation_timeout: duration.default(600),
  parallel_uploads: count(1, 64).default(8),
  aws_endpoint: z.url().optional(),
})
const build = z.object({
  max_concurrent_derivations: count(1, 64).default(1),
  max_jobs: count(1, 256).default(1),
  cores_per_job: count(0, 1024).default(0),
  use_substitutes: flag.default(true),
  offline: flag.default(false),
  substituters: list.default([]),
  trusted_public_keys: list.default([]),
  max_silent_time: duration.default(3600),
  timeout: duration.default(7200),
  sandbox: flag.default(true),
  use_systemd_scope: flag.default(true),
  systemd_memory_max: z
    .string()
    .regex(/^([0-9]+[KMGT]?|infinity)$/, 'expected bytes such as 4G, or infinity')
    .default('4G'),
  systemd_cpu_quota: count(1, 100_000).default(300),
  systemd_timeout_stop_sec: count(1, 86_400).default(600),
  systemd_properties: list.default([]),
})
const vulnix = z.object({
  timeout: duration.default(300),
  enable_whitelist: flag.default(false),
  whitelist_path: z.string().min(1).optional(),
  /** Where the feeds come from, ending in a slash. */
  mirror: z.url().optional(),
  extra_args: list.default([]),
})
const auth = z.object({
  ssh_key_path: z.string().min(1).optional(),
  ssh_known_hosts_path: z.string().min(1).optional(),
  netrc_path: z.string().min(1).optional(),
})
const schema = z.object({
  builder,
  build: build.prefault({}),
  vulnix: vulnix.prefault({}),
  auth: auth.prefault({}),
})

type Sections = Record<string, Record<string, unknown>>

function lowerCase(raw: Record<string, unknown>): Sections {
  const sections: Sections = {}
  for (const [name, section] of Object.entries(raw))
    if (typeof section === 'object' && section !== null && !Array.isArray(section))
      sections[name.toLowerCase()] = Object.fromEntries(
        Object.entries(section).map(([key, value]) => [key.toLowerCase(), value]),
      )
  return sections
}

function overlay(file: Sections, environment: Readonly<Record<string, string | undefined>>): Sections {
  const merged: Sections = { ...file }
  for (const [name, value] of Object.entries(environment)) {
    const [, section, key] = /^CRYSTAL_FORGE__([A-Z0-9_]+?)__([A-Z0-9_]+)$/.exec(name) ?? []
    if (section === undefined || key === undefined || value === undefined) continue
    merged[section.toLowerCase()] = { ...merged[section.toLowerCase()], [key.toLowerCase()]: value }
  }
  return merged
}
