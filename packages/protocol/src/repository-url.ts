export type RepositoryUrl = {
  readonly transport: 'https' | 'http' | 'ssh' | 'file'
  /** Lower case, without a port; empty for a local repository. */
  readonly host: string
  /** Null when it is the usual one of the transport. */
  readonly port: number | null
  /** The account of an ssh URL, usually `git`; null elsewhere. */
  readonly user: string | null
  /** `owner/repo` (more segments with subgroups) without `.git`; an absolute path for a local repository. */
  readonly path: string
  /** The branch that the text names; null leaves it to `branchOf`. */
  readonly branch: string | null
  /** The folder that holds flake.nix, when it is not the top one. */
  readonly dir: string | null
}

/**
 * Reads a repository the way people write it (docs of the original, part 1.3): `https://…`, `git+https://…`, `git+ssh://git@host/…`,
 * `ssh://…`, `git@host:owner/repo`, `github:o/r[/branch]`, `gitlab:o/r`, `sourcehut:~o/r`, a web address with `/tree/<branch>`,
 * `git+file:///path` or an absolute path; with `.git`, `?ref=branch` and `?dir=folder` where they make sense.
 * @throws RangeError that names what is wrong and what to write instead.
 */
export function parseRepositoryUrl(text: string): RepositoryUrl {
  if (text.length > URL_CHARACTERS_MAX)
    throw refused(text, `it is longer than ${URL_CHARACTERS_MAX} characters`)
  if (!/^[\x21-\x7e]+$/.test(text)) throw refused(text, 'only printable ASCII without spaces is allowed')
  if (text.startsWith('-')) throw refused(text, 'it must not begin with a dash')
  const [address = '', query = ''] = splitOnce(text, '?')
  const parameters = readQuery(text, query)
  const short = /^(github|gitlab|sourcehut):(.*)$/.exec(address)
  if (short?.[1] !== undefined && short[2] !== undefined)
    return forgeShorthand(text, short[1], short[2], parameters)
  if (address.startsWith('/')) return local(text, address, parameters)
  const scp = /^([A-Za-z0-9_.-]+)@([A-Za-z0-9.-]+):([^/].*)$/.exec(address)
  const url = scp ? `ssh://${scp[1]}@${scp[2]}/${scp[3]}` : address.replace(/^git\+/, '')
  return fromUrl(text, url, parameters)
}

/** The branch to watch: the one in the URL, else the original's default `main`. */
export function branchOf(url: RepositoryUrl): string {
  return url.branch ?? 'main'
}

/**
 * Whether two URLs name one repository, whatever the transport. Forges treat owner and name without regard to case. A port separates two
 * forges only within one transport: the ssh port of a forge says nothing about its https port.
 */
export function sameRepository(left: RepositoryUrl, right: RepositoryUrl): boolean {
  if (left.host !== right.host || repositoryPathKey(left) !== repositoryPathKey(right)) return false
  return left.transport !== right.transport || left.port === right.port
}

/** One text per repository and host, equal for every way to write it; for indexes. Confirm a hit with `sameRepository`. */
export function repositoryKey(url: RepositoryUrl): string {
  return url.transport === 'file' ? `file:${url.path}` : `${url.host}/${repositoryPathKey(url)}`
}

/** The URL that git clones from; without branch and folder. */
export function cloneUrl(url: RepositoryUrl): string {
  if (url.transport === 'file') return `file://${url.path}`
  const user = url.user === null ? '' : `${url.user}@`
  const port = url.port === null ? '' : `:${url.port}`
  return `${url.transport}://${user}${url.host}${port}/${url.path}`
}

/** A branch name that git, Nix and a URL carry unchanged. */
export function isBranchName(text: string): boolean {
  return (
    /^[A-Za-z0-9@][A-Za-z0-9_./@+-]{0,254}$/.test(text) &&
    !/\.\.|\/\/|@\{|\/\.|\.lock(\/|$)|[./]$/.test(text) &&
    text !== '@'
  )
}

/** A folder inside a repository: relative, no `.` or `..`, no hidden git directory. */
export function isRepositoryFolder(text: string): boolean {
  return (
    text.length <= 512 &&
    text
      .split('/')
      .every(
        (part) =>
          /^[A-Za-z0-9_.+-]+$/.test(part) && !/^\.{1,2}$|^\.git$/i.test(part) && !part.startsWith('-'),
      )
  )
}

type Parameters = {
  readonly branch: string | null
  readonly dir: string | null
  readonly host: string | null
}

function readQuery(text: string, query: string): Parameters {
  const found: Record<'ref' | 'dir' | 'host', string | null> = { ref: null, dir: null, host: null }
  for (const part of query === '' ? [] : query.split('&')) {
    const [name = '', value = ''] = splitOnce(part, '=')
    if (name === 'shallow' || name === 'submodules' || name === 'lfs') continue
    if (name === 'rev' || name === 'narHash')
      throw refused(text, `it is pinned by "${name}"; name a branch with ?ref=`)
    if (name !== 'ref' && name !== 'dir' && name !== 'host')
      throw refused(text, `the parameter "${name}" is unknown`)
    found[name] = decode(text, value)
  }
  if (found.dir !== null && !isRepositoryFolder(found.dir))
    throw refused(text, 'dir must be a folder inside the repository')
  return { branch: checkedBranch(text, found.ref), dir: found.dir, host: found.host }
}

function forgeShorthand(text: string, forge: string, rest: string, parameters: Parameters): RepositoryUrl {
  const [owner = '', repo = '', ...branch] = rest.split('/').map((part) => decode(text, part))
  const inPath = branch.length === 0 ? null : checkedBranch(text, branch.join('/'))
  if (inPath !== null && parameters.branch !== null) throw refused(text, 'it names the branch twice')
  const host = parameters.host ?? SHORTHAND_HOSTS[forge] ?? ''
  const base = fromUrl(text, `https://${host}/${owner}/${repo}`, NO_PARAMETERS)
  return { ...base, branch: inPath ?? parameters.branch, dir: parameters.dir }
}

function fromUrl(text: string, address: string, parameters: Parameters): RepositoryUrl {
  const match = /^(https?|ssh|file):\/\/(?:([^@/]*)@)?([^/:@]*)(?::([0-9]{1,5}))?(\/.*)?$/.exec(address)
  const [, transport, account, host = '', portText, path = ''] = match ?? []
  if (transport === undefined)
    throw refused(text, 'write https://host/owner/repo, git+ssh://git@host/owner/repo or github:owner/repo')
  if (transport === 'file') {
    if (host !== '' || account !== undefined)
      throw refused(text, 'a local repository is file:///absolute/path')
    return local(text, path, parameters)
  }
  if (parameters.host !== null) throw refused(text, 'host is a parameter of github: and gitlab: only')
  if (!HOST.test(host)) throw refused(text, 'the host name is not valid')
  if (account !== undefined && transport !== 'ssh') {
    throw refused(redacted(text), 'credentials do not belong into a URL; use a netrc file')
  }
  if (account !== undefined && !/^[A-Za-z0-9_][A-Za-z0-9_.-]*$/.test(account))
    throw refused(redacted(text), 'the account is not valid')
  const known = transport === 'https' ? 'https' : transport === 'http' ? 'http' : 'ssh'
  const port = portText === undefined ? USUAL_PORTS[known] : Number(portText)
  if (port < 1 || port > 65_535) throw refused(text, 'the port is not between 1 and 65535')
  const { repository, branch } = splitWebAddress(path)
  if (branch !== null && parameters.branch !== null) throw refused(text, 'it names the branch twice')
  return {
    transport: known,
    host: host.toLowerCase(),
    port: port === USUAL_PORTS[known] ? null : port,
    user: account ?? null,
    path: checkedPath(text, decode(text, repository)),
    branch: checkedBranch(text, branch) ?? parameters.branch,
    dir: parameters.dir,
  }
}

/** Takes `/tree/<branch>` (GitHub), `/-/tree/<branch>` (GitLab) and `/src/branch/<branch>` (Gitea) off a web address. */
function splitWebAddress(path: string): { readonly repository: string; readonly branch: string | null } {
  const match = /^(\/.+?\/.+?)\/(?:-\/tree|tree|src\/branch)\/(.+?)\/?$/.exec(path)
  return match?.[1] !== undefined && match[2] !== undefined
    ? { repository: match[1], branch: match[2] }
    : { repository: path, branch: null }
}

function checkedPath(text: string, path: string): string {
  const parts = path
    .replace(/^\/+|\/+$/g, '')
    .replace(/\.git$/, '')
    .split('/')
  if (parts.length < 2 || parts.length > 20) throw refused(text, 'it needs an owner and a repository')
  for (const part of parts) {
    if (!SEGMENT.test(part)) throw refused(text, `"${part}" is not the name of an owner or a repository`)
  }
  // Forges take the ending off once as well, so the URL without it would name another repository.
  if (parts.at(-1)?.endsWith('.git')) throw refused(text, 'the name of a repository does not end in .git')
  return parts.join('/')
}

function local(text: string, path: string, parameters: Parameters): RepositoryUrl {
  const clean = path.replace(/\/+$/, '')
  if (!/^(\/[A-Za-z0-9_.+@~-]+)+$/.test(clean) || /\/\.{1,2}(\/|$)/.test(clean)) {
    throw refused(
      text,
      'a local repository is an absolute path without "." or ".." of letters, digits and _.+@~-',
    )
  }
  const { branch, dir } = parameters
  return { transport: 'file', host: '', port: null, user: null, path: clean, branch, dir }
}

function checkedBranch(text: string, branch: string | null): string | null {
  if (branch !== null && !isBranchName(branch)) throw refused(text, `"${branch}" is not a branch name`)
  return branch
}

function repositoryPathKey(url: RepositoryUrl): string {
  return url.transport === 'file' ? url.path : url.path.toLowerCase()
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator)
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}

function decode(text: string, part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    throw refused(text, 'its percent encoding is broken')
  }
}

function refused(text: string, why: string): RangeError {
  return new RangeError(`not a usable repository URL: ${JSON.stringify(text.slice(0, 200))}: ${why}`)
}

/** A message about credentials must not carry them into a log. */
function redacted(text: string): string {
  return text.replace(/\/\/[^@]*@/, '//***@')
}

const URL_CHARACTERS_MAX = 2_048
const HOST =
  /^(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$/
const SEGMENT = /^(?!\.{1,2}$)[A-Za-z0-9_~.][A-Za-z0-9_~.+-]{0,127}$/
const USUAL_PORTS = { https: 443, http: 80, ssh: 22 } as const
const SHORTHAND_HOSTS: Readonly<Record<string, string>> = {
  github: 'github.com',
  gitlab: 'gitlab.com',
  sourcehut: 'git.sr.ht',
}
const NO_PARAMETERS: Parameters = { branch: null, dir: null, host: null }
