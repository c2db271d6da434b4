import type { PushOutcome } from '@crystal-forge/protocol'

/** What a verified delivery means for the flake of its hook. */
export type JudgedPush =
  | { readonly kind: 'wanted'; readonly rev: string }
  | { readonly kind: 'ignored'; readonly because: string }
  | { readonly kind: 'malformed'; readonly detail: string }

/**
 * Whether the watched branch moved. Which repository it is comes from the hook, so what the body says about that is not
 * read; the commit is a hint, and the forge is asked afterwards.
 */
export function judgePush(push: PushOutcome, watchedBranch: string): JudgedPush {
  switch (push.kind) {
    case 'malformed':
      return push
    case 'ignored':
      return { kind: 'ignored', because: IGNORED[push.because] }
    case 'push': {
      const moved = push.branches.find(({ branch }) => branch === watchedBranch)
      if (moved !== undefined) return { kind: 'wanted', rev: moved.after }
      const named = push.branches.map(({ branch }) => JSON.stringify(branch.slice(0, 100))).slice(0, 5)
      return {
        kind: 'ignored',
        because: `the push is to ${named.join(', ')}; ${JSON.stringify(watchedBranch)} is watched`,
      }
    }
  }
}

const IGNORED = {
  'not-a-push': 'the event is not a push',
  tag: 'the push is to a tag; a branch is watched',
  'branch-deleted': 'the branch was deleted',
  'no-branch': 'the push is to no branch',
} as const
