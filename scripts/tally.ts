import type { TestCase, TestModule } from 'vitest/node'

/** What became of the tests of a run. `skips` has one entry for each skipped test. */
export type Tally = {
  readonly passed: number
  readonly failed: number
  readonly skips: readonly Skip[]
  /** Errors that belong to no test: a file that does not load, a hook, a rejection nobody handled. */
  readonly strayErrors: number
  /** With `-t PATTERN` Vitest skips what does not match; such skips need no reason. */
  readonly namesFiltered: boolean
}

export type Skip = { readonly test: string; readonly reason: string | undefined }

export function emptyTally(options: { namesFiltered: boolean }): Tally {
  return { passed: 0, failed: 0, skips: [], strayErrors: 0, namesFiltered: options.namesFiltered }
}

/** Adds the tests of one file, and the errors of its suites and hooks. */
export function addModule(tally: Tally, module: TestModule): Tally {
  let { passed, failed, strayErrors } = tally
  const skips = [...tally.skips]
  for (const test of module.children.allTests()) {
    const { state } = test.result()
    if (state === 'passed') passed += 1
    else if (state === 'skipped' && !isBelowError(test))
      skips.push({ test: `${module.relativeModuleId} > ${test.fullName}`, reason: reasonOf(test) })
    // What is still pending at the end, or was passed over because a hook around it threw, did not pass.
    else failed += 1
  }
  strayErrors += module.errors().length
  for (const suite of module.children.allSuites()) strayErrors += suite.errors().length
  return { ...tally, passed, failed, skips, strayErrors }
}

function isBelowError(test: TestCase): boolean {
  let suite: TestCase['parent'] = test.parent
  while (suite.type === 'suite') {
    if (suite.errors().length > 0) return true
    suite = suite.parent
  }
  return suite.errors().length > 0
}

export function addUnhandled(tally: Tally, count: number): Tally {
  return { ...tally, strayErrors: tally.strayErrors + count }
}

/** Green means: something ran, nothing failed, and every skip says why. */
export function isGreen(tally: Tally): boolean {
  return tally.passed > 0 && failures(tally) === 0
}

/** The list of skips, remarks, and last the line `N passed, N failed` or `N passed, N failed, N skipped`. */
export function closingLines(tally: Tally): string[] {
  const lines = skipLines(tally)
  if (tally.strayErrors > 0) {
    lines.push(`${tally.strayErrors} error(s) outside of tests, counted as failed`)
  }
  if (unexplained(tally) > 0) lines.push(`${unexplained(tally)} skip(s) without a reason, counted as failed`)
  if (tally.passed + tally.failed === 0) lines.push('no test ran')
  const skipped = tally.skips.length - unexplained(tally)
  const counts = `${tally.passed} passed, ${failures(tally)} failed`
  return [...lines, skipped > 0 ? `${counts}, ${skipped} skipped` : counts]
}

function skipLines(tally: Tally): string[] {
  if (tally.namesFiltered) return []
  return tally.skips.map(({ test, reason }) => `skipped: ${test}: ${reason ?? 'no reason given'}`)
}

function failures(tally: Tally): number {
  return tally.failed + tally.strayErrors + unexplained(tally)
}

function unexplained(tally: Tally): number {
  return tally.namesFiltered ? 0 : tally.skips.filter((skip) => skip.reason === undefined).length
}

/** The note of `context.skip(note)`, or what follows "— skipped: " or "(skipped: " in the name of the test or of its suite. */
function reasonOf(test: TestCase): string | undefined {
  const result = test.result()
  if (result.state === 'skipped' && result.note !== undefined) return result.note
  const reason = REASON.exec(test.fullName)
  return reason?.[1] ?? reason?.[2]
}

const REASON = /— skipped: ([^>]+)|\(skipped: ([^)>]+)\)/
