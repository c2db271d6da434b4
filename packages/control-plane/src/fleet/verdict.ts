export const VERDICTS = [
  'never_seen',
  'untracked',
  'no_evaluation',
  'evaluation_failed',
  'unattributed',
  'build_failed',
  'building',
  'up_to_date',
  'behind',
  'ahead',
] as const
/** What the comparison of a host with its declaration says, in one word. */
export type Verdict = (typeof VERDICTS)[number]

/** What is known of a host and of the configuration that it follows. Positions count commits of the flake. */
export type DriftFacts = {
  /** The host has reported at least once. */
  readonly seen: boolean
  /** It follows a configuration of a flake. */
  readonly tracked: boolean
  /** A fixed store path is desired, whatever the flake says. */
  readonly pinned: boolean
  /** Its configuration was evaluated at least once, with whatever result. */
  readonly evaluated: boolean
  /** The newest evaluation of its configuration is an error. */
  readonly latestFailed: boolean
  /** There is a desired path: the pinned one, or that of the newest commit that evaluates. */
  readonly desiredKnown: boolean
  readonly onDesiredPath: boolean
  /** Of the derivation that yields the desired path; null when none is known. */
  readonly buildState: 'pending' | 'building' | 'built' | 'cached' | 'failed' | null
  readonly desiredPosition: number | null
  /** The newest commit for which the host's own configuration yields the running path. */
  readonly runningPosition: number | null
}

/**
 * The verdict of a host. What it runs comes before what is being made for it: a path that no commit yields is
 * `unattributed` even while a build runs, and a pinned host is not concerned by commits that it does not follow.
 * `drift_verdict` in SQL is the same rule for lists.
 */
export function verdictOf(facts: DriftFacts): Verdict {
  if (!facts.seen) return 'never_seen'
  if (facts.pinned && facts.onDesiredPath) return 'up_to_date'
  if (!facts.tracked) return 'untracked'
  if (!facts.evaluated) return 'no_evaluation'
  if (!facts.desiredKnown) return 'evaluation_failed'
  if (facts.runningPosition === null) return 'unattributed'
  if (facts.latestFailed && !facts.pinned) return 'evaluation_failed'
  if (facts.onDesiredPath || facts.runningPosition === facts.desiredPosition) return 'up_to_date'
  return compare(facts.runningPosition, facts.desiredPosition, facts.buildState)
}

function compare(
  running: number,
  desired: number | null,
  build: DriftFacts['buildState'],
): 'no_evaluation' | 'ahead' | 'build_failed' | 'building' | 'behind' {
  if (desired === null) return 'no_evaluation'
  if (running > desired) return 'ahead'
  if (build === 'failed') return 'build_failed'
  if (build === 'pending' || build === 'building') return 'building'
  return 'behind'
}

/** What a sentence about a verdict can name. */
export type VerdictWords = {
  readonly flake: string | null
  readonly configuration: string | null
  readonly commitsBehind: number | null
  readonly attributedTo: { readonly flake: string; readonly configuration: string } | null
}

/** One sentence for people that says why the verdict is what it is. */
export function verdictSentence(verdict: Verdict, words: VerdictWords): string {
  const of = `${words.flake ?? 'no flake'}#${words.configuration ?? 'no configuration'}`
  const behind = words.commitsBehind === 1 ? '1 commit' : `${words.commitsBehind ?? 0} commits`
  switch (verdict) {
    case 'never_seen':
      return 'it has never reported'
    case 'untracked':
      return 'it follows no flake, so nothing is desired of it'
    case 'no_evaluation':
      return `no evaluated commit of ${of} yields what is desired`
    case 'evaluation_failed':
      return `the newest commit does not evaluate for ${of}`
    case 'unattributed':
      return words.attributedTo === null
        ? 'no known commit yields the path that it runs'
        : `it runs ${words.attributedTo.flake}#${words.attributedTo.configuration} instead of ${of}`
    case 'build_failed':
      return `it is ${behind} behind and the desired system does not build`
    case 'building':
      return `it is ${behind} behind and the desired system is not built yet`
    case 'up_to_date':
      return 'it runs what is desired'
    case 'behind':
      return `it is ${behind} behind`
    case 'ahead':
      return 'it runs a newer commit than the desired one'
  }
}
