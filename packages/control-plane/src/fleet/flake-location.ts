import {
  cloneUrl,
  type FlakeSource,
  flakeSource,
  parseRepositoryUrl,
  type RepositoryUrl,
} from '@crystal-forge/protocol'

export type FlakeLocation =
  | {
      readonly ok: true
      readonly source: FlakeSource
      /** The branch that the URL names, if it names one. */
      readonly branch: string | null
    }
  | { readonly ok: false; readonly because: string }

/**
 * Reads the repository URL of a declared flake into the parts that builders compose a reference from. `local` says that the
 * declaration asks for a path on the machine of the builders, which only an administrator may.
 */
export function flakeLocation(url: string, local: boolean): FlakeLocation {
  const read = parse(url)
  if (typeof read === 'string') return { ok: false, because: read }
  const refuse = (why: string): FlakeLocation => ({ ok: false, because: `"${cloneUrl(read)}": ${why}` })
  if (read.transport === 'file' && !local)
    return refuse('a path of this machine needs local = true and an admin token')
  if (read.transport !== 'file' && local) return refuse('local = true is for an absolute path; remove it')
  if (read.transport === 'http') return refuse('http can be changed on its way: write https:// or git+ssh://')
  if (read.transport === 'ssh' && (read.user ?? 'git') !== 'git')
    return refuse(`the account "${read.user}" is not used by forges: write git@`)
  const source = flakeSource.safeParse(sourceOf(read))
  if (source.success) return { ok: true, source: source.data, branch: read.branch }
  const [issue] = source.error.issues
  return refuse(`${issue?.path.join('.')}: ${issue?.message}`)
}

function parse(url: string): RepositoryUrl | string {
  try {
    return parseRepositoryUrl(url)
  } catch (error) {
    if (error instanceof RangeError) return error.message
    throw error
  }
}

function sourceOf(url: RepositoryUrl): unknown {
  const dir = url.dir === null ? {} : { dir: url.dir }
  if (url.transport === 'file') return { kind: 'local', path: url.path, ...dir }
  const segments = url.path.split('/')
  return {
    kind: 'forge',
    via: url.transport,
    host: url.port === null ? url.host : `${url.host}:${url.port}`,
    owner: segments.slice(0, -1).join('/'),
    repo: segments.at(-1),
    ...dir,
  }
}
