import { globSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { canonicalJson, catalogueRule, collectorTable } from '@crystal-forge/protocol'

// `node scripts/control-questions.ts` writes what the agent of a host asks its collectors: the checks of all rules of the catalogue,
// without what is expected and without the words of the rules, and how long the answers count. A test of the agent says when it is stale.
const root = join(import.meta.dirname, '..')
const FILE = 'host-agent/src/controls/questions.generated.ts'

export type ControlQuestion = { readonly collector: string; readonly args: Readonly<Record<string, unknown>> }

/** Each question once, by collector and arguments. */
export function controlQuestions(directory: string = join(root, 'catalogue')): ControlQuestion[] {
  const questions = new Map<string, ControlQuestion>()
  for (const file of globSync('*/rules/*.json', { cwd: directory })) {
    const rule = catalogueRule.parse(JSON.parse(readFileSync(join(directory, file), 'utf8')))
    for (const { collector, args } of rule.assess.runtime) {
      questions.set(`${collector} ${canonicalJson(args)}`, { collector, args })
    }
  }
  return [...questions].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, question]) => question)
}

/** After how many hours the first of the answers stops to count (`freshForHours` of its collector). */
export function freshForHoursMin(directory: string = join(root, 'catalogue')): number {
  const table = collectorTable.parse(JSON.parse(readFileSync(join(directory, 'collectors.json'), 'utf8')))
  return Math.min(...Object.values(table).map(({ freshForHours }) => freshForHours))
}

function write(): void {
  const text = `import type { Question } from './collect-facts.ts'

// Made from catalogue/*/rules by scripts/control-questions.ts.
export const QUESTIONS: readonly Question[] = [
${controlQuestions()
  .map((question) => `  ${JSON.stringify(question)},\n`)
  .join('')}]

/** Hours after which the control plane no longer counts the first of the answers. */
export const FRESH_FOR_HOURS_MIN = ${freshForHoursMin()}
`
  writeFileSync(join(root, FILE), text)
  console.log(`wrote ${FILE}`)
}

if (import.meta.main) write()
