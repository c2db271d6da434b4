import * as z from 'zod'
import { parseStrictJson } from './strict-json.ts'
import type { WebhookProvider } from './webhook-verify.ts'

/** A branch that moved, in the forge's words. A hint: the ref and the commit's time are asked from the forge afterwards. */
export type PushedBranch = {
  readonly branch: string
  /** 40 or 64 hex digits. */
  readonly after: string
  /** The commit's own time as the forge states it, or null. */
  readonly committedAt: string | null
}

/** What a verified delivery says. `ignored` is acknowledged with its reason; `malformed` is the sender's fault. */
export type PushOutcome =
  | {
      readonly kind: 'push'
      /** Every URL under which the forge names the repository; one of them matches the flake. */
      readonly repositoryUrls: readonly string[]
      readonly branches: readonly PushedBranch[]
    }
  | { readonly kind: 'ignored'; readonly because: 'not-a-push' | 'tag' | 'branch-deleted' | 'no-branch' }
  | { readonly kind: 'malformed'; readonly detail: string }

/** Reads the body of a delivery whose signature held. */
export function parsePush(
  delivery: { readonly provider: WebhookProvider; readonly event: string | null },
  body: Uint8Array,
): PushOutcome {
  if (delivery.event !== null && !PUSH_EVENTS[delivery.provider].has(delivery.event)) {
    return { kind: 'ignored', because: TAG_EVENTS.has(delivery.event) ? 'tag' : 'not-a-push' }
  }
  let data: unknown
  try {
    data = parseStrictJson(body, { depthMax: DEPTH_MAX })
  } catch (error) {
    const detail = error instanceof Error ? error.message : 'not JSON'
    return { kind: 'malformed', detail: `${detail}; set the hook's content type to application/json` }
  }
  return delivery.provider === 'bitbucket' ? readBitbucket(data) : readRefPush(data, delivery.provider)
}

/** GitHub, Gitea, Forgejo and GitLab: one ref a delivery. */
function readRefPush(data: unknown, provider: WebhookProvider): PushOutcome {
  const parsed = refPush.safeParse(data)
  if (!parsed.success) return malformed(parsed.error)
  const { ref, repository, project, commits, head_commit, deleted } = parsed.data
  if (ref === undefined) return { kind: 'ignored', because: 'not-a-push' }
  if (ref.startsWith('refs/tags/')) return { kind: 'ignored', because: 'tag' }
  if (!ref.startsWith('refs/heads/') || ref.length === 11) return { kind: 'ignored', because: 'no-branch' }
  const after = parsed.data.after ?? (provider === 'gitlab' ? parsed.data.checkout_sha : null)
  if (deleted === true || (after !== null && after !== undefined && /^0+$/.test(after))) {
    return { kind: 'ignored', because: 'branch-deleted' }
  }
  if (!after || !COMMIT.test(after))
    return { kind: 'malformed', detail: 'after: expected the 40 hex digits of a commit' }
  const repositoryUrls =
    provider === 'gitlab'
      ? urls([project?.web_url, project?.git_http_url, project?.git_ssh_url])
      : urls([repository?.clone_url, repository?.html_url, repository?.ssh_url])
  if (repositoryUrls.length === 0) {
    return {
      kind: 'malformed',
      detail: `${provider === 'gitlab' ? 'project.web_url' : 'repository.clone_url'}: missing`,
    }
  }
  const tip = [head_commit, ...(commits ?? [])].find((commit) => commit?.id === after)
  const branch = { branch: ref.slice(11), after, committedAt: tip?.timestamp ?? null }
  return { kind: 'push', repositoryUrls, branches: [branch] }
}

/** Bitbucket Cloud: several changes a delivery. */
function readBitbucket(data: unknown): PushOutcome {
  const parsed = bitbucketPush.safeParse(data)
  if (!parsed.success) return malformed(parsed.error)
  const repositoryUrls = urls([parsed.data.repository.links.html.href])
  const branches: PushedBranch[] = []
  let ignored: 'tag' | 'branch-deleted' | 'no-branch' = 'no-branch'
  for (const change of parsed.data.push.changes) {
    const tip = change.new
    if (tip === null) ignored = 'branch-deleted'
    else if (tip.type !== 'branch') ignored = 'tag'
    else branches.push({ branch: tip.name, after: tip.target.hash, committedAt: tip.target.date ?? null })
  }
  if (branches.length === 0) return { kind: 'ignored', because: ignored }
  return { kind: 'push', repositoryUrls, branches }
}

function malformed(error: z.ZodError): PushOutcome {
  const issue = error.issues[0]
  return {
    kind: 'malformed',
    detail: `${issue?.path.join('.') || 'body'}: ${issue?.message ?? 'not as expected'}`,
  }
}

function urls(given: readonly (string | null | undefined)[]): readonly string[] {
  return given.filter((url): url is string => typeof url === 'string' && url !== '')
}

const COMMIT = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/
/** Forges nest installations, organisations and custom properties deeper than our own messages. */
const DEPTH_MAX = 64

const PUSH_EVENTS: Readonly<Record<WebhookProvider, ReadonlySet<string>>> = {
  github: new Set(['push']),
  gitea: new Set(['push']),
  forgejo: new Set(['push']),
  gitlab: new Set(['Push Hook', 'System Hook']),
  bitbucket: new Set(['repo:push']),
}
const TAG_EVENTS: ReadonlySet<string> = new Set(['Tag Push Hook'])

const text = z.string().max(4096).nullish()
const commit = z.object({ id: text, timestamp: text })
const refPush = z.object({
  ref: z.string().min(1).max(1024).optional(),
  after: text,
  checkout_sha: text,
  deleted: z.boolean().nullish(),
  repository: z.object({ clone_url: text, html_url: text, ssh_url: text }).nullish(),
  project: z.object({ web_url: text, git_http_url: text, git_ssh_url: text }).nullish(),
  head_commit: commit.nullish(),
  commits: z.array(commit).max(10_000).nullish(),
})
const bitbucketPush = z.object({
  repository: z.object({ links: z.object({ html: z.object({ href: z.string().max(4096) }) }) }),
  push: z.object({
    changes: z
      .array(
        z.object({
          new: z
            .object({
              type: z.string().max(64),
              name: z.string().min(1).max(1024),
              target: z.object({ hash: z.string().regex(COMMIT), date: text }),
            })
            .nullable(),
        }),
      )
      .max(1000),
  }),
})
