import { type Api, type Row, readList } from '../api.ts'
import type { Console } from '../console.ts'
import { EXIT, type ExitCode } from '../exit.ts'
import { renderTable, wholeValue } from '../table.ts'
import { shortRevision } from './lists.ts'

/** What a commit does to the controls of its configurations: opened 3, closed 5, and which. */
export async function showCommitControls(
  console: Console,
  api: Api,
  { commit, configuration, json }: { commit: string; configuration: string | undefined; json: boolean },
): Promise<ExitCode> {
  const path = `/v1/commits/${encodeURIComponent(commit)}/controls`
  const page = await readList(api, path, { configuration, limit: '200' }, true)
  if (json) {
    console.out(JSON.stringify(page, null, 2))
    return EXIT.ok
  }
  if (page.items.length === 0) console.out('no configuration of this commit has a report of the STIG')
  for (const item of page.items) showItem(console, wholeValue(page['flake']), item)
  return EXIT.ok
}

function showItem(console: Console, flake: string, item: Row): void {
  const parts = PARTS.map((part) => [part, rows(item[part])] as const)
  const counts = parts.map(([part, changes]) => `${part} ${changes.length}`).join(', ')
  const before: unknown = item['before']
  const since =
    typeof before === 'object' && before !== null
      ? `since ${wholeValue(shortRevision(Reflect.get(before, 'rev')))}`
      : 'nothing was before'
  console.out(`${flake}#${wholeValue(item['configuration'])}: ${counts} (${since})`)
  const table = parts.flatMap(([part, changes]) =>
    changes.map((one) => [part, one['rule'], one['before'], one['after'], one['because']]),
  )
  if (table.length > 0) console.out(renderTable(['', 'RULE', 'BEFORE', 'AFTER', 'BECAUSE'], table))
}

function rows(value: unknown): readonly Row[] {
  return Array.isArray(value) ? value : []
}

const PARTS = ['opened', 'closed', 'changed'] as const
