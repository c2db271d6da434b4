import { scopeProperties } from '@crystal-forge/nix-cli'
import { parsePublicKey } from '@crystal-forge/protocol'
import * as z from 'zod'
import { absolutePath, bytes, count, duration, flag, list } from './config-values.ts'

const text = z.string().min(1)
/** A file name that git hands to a shell, so nothing a shell reads may be in it. */
const plainPath = z
  .string()
  .regex(/^(\/[A-Za-z0-9_.@+-]+)+$/, 'expected an absolute path of letters, digits and _.@+-')

const builder = z.object({
  server_url: z.url({ protocol: /^https?$/, error: 'expected a URL such as https://forge.example.com' }),
  /** The public host that the control plane knows itself by, when it is not the one of server_url. */
  authority: text.optional(),
  allow_plain_http: flag.default(false),
  /** File with this builder's key: base64 of a 32-byte seed, mode 0600. */
  private_key: absolutePath,
  /** The control plane's key for job documents. A builder does nothing without its signature. */
  job_public_key: z
    .string()
    .refine((key) => parsePublicKey(key) !== null, 'expected the base64 of the 32 bytes of an Ed25519 key'),
  state_directory: absolutePath.default('/var/lib/crystal-forge-builder'),
  systems: list
    .refine((names) => names.length > 0 && names.length <= 16, 'expected 1 to 16 systems')
    .refine(
      (names) => names.every((name) => /^[a-z0-9_-]{1,64}$/.test(name)),
      'expected names such as x86_64-linux',
    )
    .default(['x86_64-linux']),
  /** Forges that flakes may come from, lower case, with `:port` where it is not the usual one. */
  forges: list.default(['github.com', 'gitlab.com', 'codeberg.org', 'bitbucket.org']),
  /** Absolute paths whose repositories an administrator declared local. */
  local_flakes: list.default([]),
  /** Prefixes of addresses that the inputs of a flake may come from, beside the forges. */
  allowed_uris: list.default([]),
  concurrent_evaluations: count(1, 64).default(2),
  evaluation_timeout: duration({ least: 1 }).default(600),
  /** Uploads at a time, of all jobs together. */
  parallel_uploads: count(1, 64).optional(),
  /** With less free in the file system of the store no build is begun. */
  min_free_bytes: bytes.default(2 * 1024 ** 3),
  aws_endpoint: z.url({ error: 'expected a URL such as http://127.0.0.1:4566' }).optional(),
})

const build = z.object({
  max_concurrent_derivations: count(1, 64).default(1),
  max_jobs: count(1, 256).default(1),
  cores_per_job: count(0, 1024).default(0),
  use_substitutes: flag.default(true),
  offline: flag.default(false),
  substituters: list.default([]),
  trusted_public_keys: list.default([]),
  max_silent_time: duration({ least: 0 }).default(3600),
  timeout: duration({ least: 0 }).default(7200),
  sandbox: flag.default(true),
  use_systemd_scope: flag.default(true),
  systemd_memory_max: z
    .string()
    .regex(
      /^([0-9]{1,15}[KMGT]?|[0-9]{1,3}%|infinity)$/,
      'expected bytes such as "4G", a share such as "50%", or "infinity"',
    )
    .default('4G'),
  systemd_cpu_quota: count(1, 100_000).default(300),
  systemd_timeout_stop_sec: count(1, 86_400).default(600),
  systemd_properties: list
    .refine(isLimits, 'expected resource limits such as "TasksMax=3000" or "MemorySwapMax=2G"')
    .default([]),
})

const vulnix = z.object({
  timeout: duration({ least: 1 }).default(300),
  enable_whitelist: flag.default(false),
  whitelist_path: absolutePath.optional(),
  /** Where the feeds come from, ending in a slash. */
  mirror: z.url().endsWith('/', 'expected a URL that ends in a slash').optional(),
  extra_args: list.default([]),
})

const auth = z.object({
  ssh_key_path: plainPath.optional(),
  ssh_known_hosts_path: plainPath.optional(),
  netrc_path: absolutePath.optional(),
})

const cache = z.object({
  cache_type: z
    .string()
    .transform((name) => name.toLowerCase())
    .pipe(z.enum(['nix', 's3', 'attic', 'http'], 'expected "Nix", "S3", "Attic" or "Http"'))
    .default('nix'),
  push_to: text.optional(),
  push_after_build: flag.optional(),
  signing_key: absolutePath.optional(),
  compression: z
    .enum(
      ['none', 'xz', 'bzip2', 'gzip', 'zstd', 'br'],
      'expected "zstd", "xz", "bzip2", "gzip", "br" or "none"',
    )
    .optional(),
  push_filter: list.optional(),
  push_timeout_seconds: duration({ least: 1 }).default(3600),
  parallel_uploads: count(1, 64).optional(),
  attic_cache_name: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9_+-]{0,49}$/, 'expected a name of letters, digits and _+-')
    .optional(),
  attic_token_file: absolutePath.optional(),
  attic_jobs: count(1, 64).default(5),
  attic_ignore_upstream_cache_filter: flag.default(true),
})

/** The sections that a builder reads. Secrets are paths, never values. */
export const configSchema: z.ZodObject<{
  builder: typeof builder
  build: z.ZodPrefault<typeof build>
  vulnix: z.ZodPrefault<typeof vulnix>
  auth: z.ZodPrefault<typeof auth>
  cache: z.ZodPrefault<typeof cache>
}> = z.object({
  builder,
  build: build.prefault({}),
  vulnix: vulnix.prefault({}),
  auth: auth.prefault({}),
  cache: cache.prefault({}),
})

export type CacheSection = z.infer<typeof cache>

/** By section, the keys that mean something. */
export const KNOWN_KEYS: Readonly<Record<string, readonly string[]>> = {
  builder: Object.keys(builder.shape),
  build: Object.keys(build.shape),
  vulnix: Object.keys(vulnix.shape),
  auth: Object.keys(auth.shape),
  cache: Object.keys(cache.shape),
}

function isLimits(properties: readonly string[]): boolean {
  try {
    scopeProperties({ properties })
    return true
  } catch {
    return false
  }
}
