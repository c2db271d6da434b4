import type { AssessedHost } from '../assess.ts'
import { STATUS_OF, type Status } from '../export/words.ts'
import type { Checklist } from './read-checklist.ts'

/** What an import would change: statements of a person, to be recorded. */
export type ComparedChecklist = {
  /** Rules of which both say the same; nothing is recorded for them. */
  readonly same: number
  readonly statements: readonly {
    readonly rule: string
    readonly ours: Status
    readonly theirs: 'pass' | 'open'
    readonly statement: string
  }[]
  /** What cannot be taken over, with the reason. */
  readonly passedOver: readonly {
    readonly rule: string
    readonly ours: Status
    readonly theirs: Status
    readonly because: string
  }[]
  readonly counts: Readonly<Record<Status, number>>
}

/** Holds a checklist against what evidence says now. What is the same needs no statement, so an export comes back without change. */
export function compareChecklist(checklist: Checklist, host: AssessedHost): ComparedChecklist {
  const results = new Map(host.controls.map((result) => [result.rule, result]))
  const statements: ComparedChecklist['statements'][number][] = []
  const passedOver: ComparedChecklist['passedOver'][number][] = []
  const counts: Record<Status, number> = { pass: 0, open: 0, not_applicable: 0, not_reviewed: 0 }
  let same = 0
  for (const { rule, status: theirs, comments, details } of checklist.rules) {
    counts[theirs] += 1
    const result = results.get(rule)
    const ours = result === undefined ? 'not_reviewed' : STATUS_OF[result.state]
    if (result === undefined) passedOver.push({ rule, ours, theirs, because: 'it is not in this release' })
    else if (ours === theirs) same += 1
    else if (theirs === 'not_reviewed') passedOver.push({ rule, ours, theirs, because: 'it says nothing' })
    else if (theirs === 'not_applicable')
      passedOver.push({
        rule,
        ours,
        theirs,
        because: 'a fact of the configuration decides that, not a person',
      })
    else
      statements.push({
        rule,
        ours,
        theirs,
        statement: (comments || details || `a checklist says ${theirs}`).slice(0, 4000),
      })
  }
  return { same, statements, passedOver, counts }
}
