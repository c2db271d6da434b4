import {
  cloneUrl,
  isBranchName,
  isRepositoryFolder,
  parseRepositoryUrl,
  type RepositoryUrl,
} from '@crystal-forge/protocol'
import * as z from 'zod'

/** Which repositories this machine may read. */
export type RepositoryPolicy = {
  /** Names of forges, lower case, with `:port` where it is not the usual one. */
  readonly hosts: readonly string[]
  /** Absolute paths of repositories that an administrator declared local; what lies below them counts too. */
  readonly localPaths: readonly string[]
}

/** A repository by its parts. A free text never gets near git or Nix. */
export type Repository =
  | {
      readonly kind: 'forge'
      readonly host: string
      readonly owner: string
      readonly repo: string
      /** How it is fetched; https when absent. */
      readonly via?: 'https' | 'ssh' | undefined
    }
  | { readonly kind: 'local'; readonly path: string }

/** One revision of a flake. `branch` lets Nix 2.8 find a revision that is not on the default branch. */
export type FlakeReference = Repository & {
  readonly rev: string
  readonly branch?: string | undefined
  readonly dir?: string | undefined
}

/**
 * Reads a flake reference from a job document.
 * @throws FlakeReferenceError that names the field, its value and what would be right.
 */
export function parseFlakeReference(input: unknown, policy: RepositoryPolicy): FlakeReference {
  const result = flakeReferenceShape.safeParse(input)
  if (!result.success) {
    const issue = result.error.issues[0]
    throw new FlakeReferenceError(
      issue?.path.join('.') ?? '',
      issue?.message ?? 'it is not a flake reference',
    )
  }
  flakeUrl(result.data, policy)
  return result.data
}

/**
 * The URL for Nix, always locked to a revision: `git+https://host/owner/repo?rev=…`.
 * @throws FlakeReferenceError when the policy does not allow the repository or a part is malformed.
 */
export function flakeUrl(reference: FlakeReference, policy: RepositoryPolicy): string {
  const url = repositoryUrl(reference, policy)
  if (!REVISION.test(reference.rev))
    throw new FlakeReferenceError('rev', `it must be 40 lower case hex digits, not ${quote(reference.rev)}`)
  const parameters = [`rev=${reference.rev}`]
  if (reference.branch !== undefined) parameters.push(`ref=refs/heads/${checkedBranch(reference.branch)}`)
  if (reference.dir !== undefined) {
    if (!isRepositoryFolder(reference.dir))
      throw new FlakeReferenceError(
        'dir',
        `it must be a folder inside the repository, not ${quote(reference.dir)}`,
      )
    parameters.push(`dir=${reference.dir}`)
  }
  return `git+${url}?${parameters.join('&')}`
}

/**
 * The URL for git, under the same rules as `flakeUrl`.
 * @throws FlakeReferenceError
 */
export function repositoryUrl(repository: Repository, policy: RepositoryPolicy): string {
  return cloneUrl(
    repository.kind === 'local' ? localUrl(repository.path, policy) : forgeUrl(repository, policy),
  )
}

/** The parts of a URL that an administrator wrote. @throws FlakeReferenceError for http, which nobody can trust. */
export function repositoryOf(url: RepositoryUrl): Repository {
  if (url.transport === 'file') return { kind: 'local', path: url.path }
  if (url.transport === 'http')
    throw new FlakeReferenceError('host', `http is not accepted for ${quote(url.host)}; use https or ssh`)
  const at = url.path.lastIndexOf('/')
  return {
    kind: 'forge',
    host: url.port === null ? url.host : `${url.host}:${url.port}`,
    owner: url.path.slice(0, at),
    repo: url.path.slice(at + 1),
    via: url.transport,
  }
}

/** A reference that is refused; `field` is the part that is wrong. */
export class FlakeReferenceError extends RangeError {
  readonly field: string
  constructor(field: string, message: string, options?: ErrorOptions) {
    super(`flake reference refused: ${field}: ${message}`, options)
    this.name = 'FlakeReferenceError'
    this.field = field
  }
}

/** @throws FlakeReferenceError */
export function checkedBranch(branch: string): string {
  if (!isBranchName(branch)) throw new FlakeReferenceError('branch', `${quote(branch)} is not a branch name`)
  return branch
}

function forgeUrl(
  repository: Extract<Repository, { kind: 'forge' }>,
  policy: RepositoryPolicy,
): RepositoryUrl {
  const { host, owner, repo, via = 'https' } = repository
  if (!policy.hosts.includes(host)) {
    throw new FlakeReferenceError(
      'host',
      `${quote(host)} is not among the allowed forges (${policy.hosts.join(', ') || 'none'})`,
    )
  }
  const user = via === 'ssh' ? 'git@' : ''
  const url = read('repo', `${via}://${user}${host}/${owner}/${repo}`)
  if (url.path !== `${owner}/${repo}` || url.branch !== null || url.dir !== null) {
    throw new FlakeReferenceError('repo', `${quote(`${owner}/${repo}`)} is not an owner and a repository`)
  }
  return url
}

function localUrl(path: string, policy: RepositoryPolicy): RepositoryUrl {
  const url = path.startsWith('/') ? read('path', path) : undefined
  if (url?.path !== path) throw new FlakeReferenceError('path', `${quote(path)} is not a plain absolute path`)
  if (!policy.localPaths.some((allowed) => path === allowed || path.startsWith(`${allowed}/`))) {
    throw new FlakeReferenceError('path', `${quote(path)} is not declared as a local flake`)
  }
  return url
}

function read(field: string, text: string): RepositoryUrl {
  try {
    return parseRepositoryUrl(text)
  } catch (cause) {
    throw new FlakeReferenceError(field, cause instanceof Error ? cause.message : String(cause), { cause })
  }
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 200))
}

const REVISION = /^[0-9a-f]{40}$/
const text = z.string().max(512)
const revisionParts = { rev: text, branch: text.optional(), dir: text.optional() }
const flakeReferenceShape = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('forge'),
    host: text,
    owner: text,
    repo: text,
    via: z.enum(['https', 'ssh']).optional(),
    ...revisionParts,
  }),
  z.strictObject({ kind: z.literal('local'), path: text, ...revisionParts }),
])
