import { access, mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { checkedBranch, type Repository, type RepositoryPolicy, repositoryUrl } from './flake-reference.ts'
import { type CommandOutcome, describeOutcome, runCommand } from './run-command.ts'

export type Git = {
  /** From `gitEnvironment`. */
  readonly env: Readonly<Record<string, string>>
  readonly policy: RepositoryPolicy
  readonly timeoutMs: number
  readonly signal?: AbortSignal
}

export type Commit = {
  readonly rev: string
  readonly parents: readonly string[]
  /** ISO 8601 in UTC. Both times are claims of whoever made the commit. */
  readonly authoredAt: string
  readonly committedAt: string
  /** The first line, at most 200 characters, without control characters. */
  readonly subject: string
}

/** Why git could not do it. `unreachable`, `timeout` may pass by themselves; the others need a person. */
export type GitFailure = {
  readonly kind: 'failed'
  readonly class: 'unreachable' | 'auth' | 'unknown-ref' | 'timeout' | 'cancelled' | 'other'
  readonly message: string
}

/** The revision that a branch has on the forge now, without fetching anything. */
export async function branchHead(
  git: Git,
  repository: Repository,
  branch: string,
): Promise<{ readonly kind: 'head'; readonly rev: string } | GitFailure> {
  const ref = `refs/heads/${checkedBranch(branch)}`
  const outcome = await run(git, ['ls-remote', '--', repositoryUrl(repository, git.policy), ref])
  if (outcome.kind === 'failed') return outcome
  for (const line of outcome.stdout.split('\n')) {
    const [rev, name] = line.split('\t')
    if (name === ref && rev !== undefined && REVISION.test(rev)) return { kind: 'head', rev }
  }
  return unknownRef(`the repository has no branch "${branch}"`)
}

/**
 * Brings a branch into a bare mirror, made on first use. Only that branch moves, also backwards after a force-push. When the promise
 * resolves to `head`, every object of that revision is in the mirror. Fetches into one mirror must not run at the same time.
 */
export async function fetchBranch(
  git: Git,
  fetch: { readonly repository: Repository; readonly branch: string; readonly mirror: string },
): Promise<{ readonly kind: 'head'; readonly rev: string } | GitFailure> {
  const ref = `refs/heads/${checkedBranch(fetch.branch)}`
  const url = repositoryUrl(fetch.repository, git.policy)
  const made = await ensureMirror(git, fetch.mirror)
  if (made !== undefined) return made
  const fetched = await run(
    git,
    ['fetch', '--quiet', '--no-tags', '--no-write-fetch-head', '--', url, `+${ref}:${ref}`],
    fetch.mirror,
  )
  if (fetched.kind === 'failed') return fetched
  const head = await run(
    git,
    ['rev-parse', '--verify', '--quiet', '--end-of-options', `${ref}^{commit}`],
    fetch.mirror,
  )
  if (head.kind === 'failed') return head
  return { kind: 'head', rev: head.stdout.trim() }
}

export type CommitList =
  | {
      readonly kind: 'commits'
      /** Newest first along the first parents. */
      readonly commits: readonly Commit[]
      /** Older ones exist and were left out because of `max`. */
      readonly more: boolean
      /** `since` is not an ancestor of the branch: it was rewritten, and the list begins anew. */
      readonly rewritten: boolean
    }
  | GitFailure

/** The commits of a fetched branch since a known revision, or its last ones. */
export async function listCommits(
  git: Git,
  list: {
    readonly mirror: string
    readonly branch: string
    readonly since: string | null
    readonly max: number
  },
): Promise<CommitList> {
  const ref = `refs/heads/${checkedBranch(list.branch)}`
  const known =
    list.since === null ? null : await isAncestor(git, { mirror: list.mirror, rev: list.since, of: ref })
  if (known !== null && known.kind === 'failed') return known
  const connected = known?.kind === 'ancestor'
  const range = connected && list.since !== null ? [ref, `^${checkedRevision(list.since)}`] : [ref]
  const outcome = await run(
    git,
    [
      'log',
      '--first-parent',
      '-z',
      `--max-count=${list.max + 1}`,
      `--format=${LOG_FORMAT}`,
      '--end-of-options',
      ...range,
      '--',
    ],
    list.mirror,
  )
  if (outcome.kind === 'failed') return outcome
  const commits = parseLog(outcome.stdout)
  return {
    kind: 'commits',
    commits: commits.slice(0, list.max),
    more: commits.length > list.max,
    rewritten: known !== null && !connected,
  }
}

/** Whether a revision is reachable from a branch, a revision or a ref: a commit that is not on the watched branch is never built. */
export async function isAncestor(
  git: Git,
  question: { readonly mirror: string; readonly rev: string; readonly of: string },
): Promise<{ readonly kind: 'ancestor' } | { readonly kind: 'not-on-branch' } | GitFailure> {
  const rev = checkedRevision(question.rev)
  if (question.of.startsWith('-')) throw new RangeError(`not a ref: ${JSON.stringify(question.of)}`)
  const exists = await command(git, ['cat-file', '-e', `${rev}^{commit}`], question.mirror)
  if (exists.kind === 'exited' && exists.code !== 0) return { kind: 'not-on-branch' }
  const outcome = await command(git, ['merge-base', '--is-ancestor', rev, question.of], question.mirror)
  if (outcome.kind === 'exited' && outcome.code === 0) return { kind: 'ancestor' }
  if (outcome.kind === 'exited' && outcome.code === 1) return { kind: 'not-on-branch' }
  return classify(outcome)
}

/** Reads what `git log -z --format=LOG_FORMAT` prints. */
export function parseLog(output: string): readonly Commit[] {
  return output
    .split('\0')
    .filter((record) => record !== '')
    .map((record) => {
      const [rev = '', parents = '', authored = '', committed = '', ...subject] = record.split('\n')
      const committedAt = isoTime(committed) ?? new Date(0).toISOString()
      return {
        rev: checkedRevision(rev),
        parents: parents.split(' ').filter((parent) => parent !== ''),
        authoredAt: isoTime(authored) ?? committedAt,
        committedAt,
        subject: plainText(subject.join(' ')).slice(0, 200),
      }
    })
}

async function ensureMirror(git: Git, mirror: string): Promise<GitFailure | undefined> {
  try {
    await access(join(mirror, 'HEAD'))
    return undefined
  } catch {
    await mkdir(dirname(mirror), { recursive: true })
    const made = await run(git, ['init', '--quiet', '--bare', '--template=', '--', mirror])
    return made.kind === 'failed' ? made : undefined
  }
}

async function run(
  git: Git,
  args: readonly string[],
  cwd?: string,
): Promise<{ kind: 'done'; stdout: string } | GitFailure> {
  const outcome = await command(git, args, cwd)
  return outcome.kind === 'exited' && outcome.code === 0
    ? { kind: 'done', stdout: outcome.stdout }
    : classify(outcome)
}

function command(git: Git, args: readonly string[], mirror?: string): Promise<CommandOutcome> {
  return runCommand({
    program: 'git',
    args: mirror === undefined ? args : ['--git-dir', mirror, ...args],
    env: git.env,
    timeoutMs: git.timeoutMs,
    ...(git.signal === undefined ? {} : { signal: git.signal }),
  })
}

/** Wording differs by version and transport; an unknown text stays `other` and keeps its words. */
function classify(outcome: CommandOutcome): GitFailure {
  const message = lastFatal(outcome.stderr) ?? describeOutcome('git', outcome)
  if (outcome.kind === 'timeout')
    return { kind: 'failed', class: 'timeout', message: describeOutcome('git', outcome) }
  if (outcome.kind === 'cancelled')
    return { kind: 'failed', class: 'cancelled', message: 'git was cancelled' }
  const found = CLASSES.find(([, pattern]) => pattern.test(outcome.stderr))
  return { kind: 'failed', class: found?.[0] ?? 'other', message }
}

function lastFatal(stderr: string): string | undefined {
  const lines = stderr.split('\n').map((line) => plainText(line).trim())
  return lines.findLast((line) => /^(fatal|error|remote: \w|ssh: |Host key)/.test(line))?.slice(0, 500)
}

function unknownRef(message: string): GitFailure {
  return { kind: 'failed', class: 'unknown-ref', message }
}

/** @throws RangeError */
function checkedRevision(rev: string): string {
  if (!REVISION.test(rev))
    throw new RangeError(
      `not a revision: ${JSON.stringify(rev.slice(0, 100))}; 40 lower case hex digits are needed`,
    )
  return rev
}

function isoTime(text: string): string | undefined {
  const time = new Date(text)
  return Number.isNaN(time.getTime()) ? undefined : time.toISOString()
}

function plainText(text: string): string {
  return text.replace(/\p{Cc}/gu, ' ')
}

const REVISION = /^[0-9a-f]{40}$/
const LOG_FORMAT = '%H%n%P%n%aI%n%cI%n%s'
const CLASSES: readonly (readonly [GitFailure['class'], RegExp])[] = [
  ['unknown-ref', /couldn't find remote ref|unknown revision|Needed a single revision|bad revision/i],
  [
    'auth',
    /Authentication failed|could not read (Username|Password)|Permission denied|Host key verification failed|terminal prompts disabled|error: 40[13]|repository '?[^']*'? not found|does not appear to be a git repository/i,
  ],
  [
    'unreachable',
    /Could not resolve host|Connection (refused|timed out|reset)|Network is unreachable|No route to host|Failed to connect|unable to access|early EOF|hung up|error: 5\d\d|Operation timed out/i,
  ],
]
