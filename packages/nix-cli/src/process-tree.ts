import { readdirSync, readFileSync } from 'node:fs'

/** A process that was there; the start time tells it from a later one with the same number. */
export type ProcessMark = {
  readonly pid: number
  readonly startedAt: string
}

/** Everything that a process started, directly or not, and that still has it as an ancestor. Empty where there is no /proc. */
export function descendantsOf(ancestor: number): readonly ProcessMark[] {
  const children = new Map<number, ProcessMark[]>()
  for (const name of processNames()) {
    const stat = statOf(Number(name))
    if (stat === undefined) continue
    const siblings = children.get(stat.parent)
    if (siblings === undefined) children.set(stat.parent, [stat.mark])
    else siblings.push(stat.mark)
  }
  const found: ProcessMark[] = []
  for (const waiting = [ancestor]; waiting.length > 0; ) {
    for (const child of children.get(waiting.pop() ?? 0) ?? []) {
      found.push(child)
      waiting.push(child.pid)
    }
  }
  return found
}

/** Ends processes at once, those that are still the same. */
export function killMarked(marks: readonly ProcessMark[]): void {
  for (const mark of marks) {
    if (statOf(mark.pid)?.mark.startedAt !== mark.startedAt) continue
    try {
      process.kill(mark.pid, 'SIGKILL')
    } catch (error) {
      // It ended by itself in between, or it is not ours to end: sandboxed builders of a daemon run as other users.
      if (!(error instanceof Error && 'code' in error && (error.code === 'ESRCH' || error.code === 'EPERM')))
        throw error
    }
  }
}

function processNames(): readonly string[] {
  try {
    return readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  } catch {
    return []
  }
}

/** Fields 4 (parent) and 22 (start time) of /proc/PID/stat; the name in field 2 may contain spaces and parentheses. */
function statOf(pid: number): { readonly parent: number; readonly mark: ProcessMark } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    const [parent, startedAt] = [fields[1], fields[19]]
    return parent === undefined || startedAt === undefined
      ? undefined
      : { parent: Number(parent), mark: { pid, startedAt } }
  } catch {
    return undefined
  }
}
