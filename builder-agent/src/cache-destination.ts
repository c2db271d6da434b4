import type { CacheSection } from './config-schema.ts'

/** A second place for closures, beside the control plane's cache, which always gets them. */
export type Destination = {
  /** Only closures whose store path contains one of these; null for all. */
  readonly filter: readonly string[] | null
  readonly timeoutMs: number
} & (
  | {
      readonly kind: 'nix'
      /** With compression and signing key as parameters, for `nix copy --to`. */
      readonly url: string
      readonly signingKey?: string | undefined
    }
  | {
      readonly kind: 'attic'
      readonly endpoint: string
      readonly cacheName: string
      readonly tokenFile: string
      readonly jobs: number
      readonly ignoreUpstreamFilter: boolean
    }
)

export type ReadDestination =
  | { readonly ok: true; readonly destination: Destination | null; readonly warnings: readonly string[] }
  | { readonly ok: false; readonly errors: readonly string[] }

/** What the original's section `cache` means now. Pure. */
export function readDestination(cache: CacheSection): ReadDestination {
  const { push_to: to } = cache
  if (to === undefined)
    return none(
      cache.cache_type === 'nix'
        ? []
        : [`cache.cache_type has no effect without cache.push_to; ${OWN_CACHE}`],
    )
  if (cache.push_after_build === false)
    return none(['cache.push_to has no effect while cache.push_after_build is false'])
  switch (cache.cache_type) {
    case 's3':
      return none([
        `cache.push_to = ${JSON.stringify(to)} has no effect with cache_type = "S3"; ${OWN_CACHE}: name its bucket where the control plane is configured`,
      ])
    case 'attic':
      return attic(cache, to)
    case 'nix':
    case 'http':
      return plain(cache, to)
  }
}

function none(warnings: readonly string[]): ReadDestination {
  return { ok: true, destination: null, warnings }
}

function plain(cache: CacheSection, to: string): ReadDestination {
  const url = URL.canParse(to) ? new URL(to) : undefined
  const errors: string[] = []
  if (url === undefined || !['https:', 'http:', 'file:', 'ssh:', 'ssh-ng:'].includes(url.protocol))
    return {
      ok: false,
      errors: [`cache.push_to: expected https://, ssh:// or file://, not ${JSON.stringify(to)}`],
    }
  if (url.username !== '' && !url.protocol.startsWith('ssh'))
    errors.push(`cache.push_to: credentials do not belong into a URL; use auth.netrc_path`)
  if (url.password !== '')
    errors.push(
      'cache.push_to: a password does not belong into a URL; use auth.netrc_path or auth.ssh_key_path',
    )
  const binaryCache = ['https:', 'http:', 'file:'].includes(url.protocol)
  for (const key of ['signing_key', 'compression'] as const)
    if (!binaryCache && cache[key] !== undefined)
      errors.push(
        `cache.${key}: ${url.protocol}// has no place for it; remove it, or push to https:// or file://`,
      )
  if (errors.length > 0) return { ok: false, errors }
  if (cache.compression !== undefined) url.searchParams.set('compression', cache.compression)
  if (cache.signing_key !== undefined) url.searchParams.set('secret-key', cache.signing_key)
  return {
    ok: true,
    destination: { kind: 'nix', url: url.href, signingKey: cache.signing_key, ...common(cache) },
    warnings: [],
  }
}

function attic(cache: CacheSection, endpoint: string): ReadDestination {
  const { attic_cache_name: cacheName, attic_token_file: tokenFile } = cache
  const errors: string[] = []
  if (!/^https?:\/\/[^\s@]+$/.test(endpoint))
    errors.push(
      `cache.push_to: expected the https:// address of the Attic server, not ${JSON.stringify(endpoint)}`,
    )
  if (cacheName === undefined)
    errors.push('cache.attic_cache_name: is missing; Attic needs the name of a cache')
  if (tokenFile === undefined)
    errors.push(
      'cache.attic_token_file: is missing; write the token into a file of mode 0600 and name it here',
    )
  if (cacheName === undefined || tokenFile === undefined || errors.length > 0) return { ok: false, errors }
  const destination: Destination = {
    kind: 'attic',
    endpoint,
    cacheName,
    tokenFile,
    jobs: cache.attic_jobs,
    ignoreUpstreamFilter: cache.attic_ignore_upstream_cache_filter,
    ...common(cache),
  }
  const warnings = (['signing_key', 'compression'] as const)
    .filter((key) => cache[key] !== undefined)
    .map((key) => `cache.${key} has no effect with Attic, which does that itself`)
  return { ok: true, destination, warnings }
}

function common(cache: CacheSection): Pick<Destination, 'filter' | 'timeoutMs'> {
  const { push_filter: filter = [] } = cache
  return { filter: filter.length === 0 ? null : filter, timeoutMs: cache.push_timeout_seconds * 1000 }
}

const OWN_CACHE = "every build goes to the control plane's own cache anyway"
