import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import * as z from 'zod'

export type Imports = { readonly modules: number; readonly violations: readonly ImportViolation[] }

/** `why` is the sentence of the rule. */
export type ImportViolation = {
  readonly rule: string
  readonly from: string
  readonly to: string
  readonly why: string
}

/**
 * Follows every import below `root` and applies the rules of `.dependency-cruiser.cjs` there.
 * Throws when no module was seen: a tool that cruises nothing also finds nothing.
 */
export async function readImports(root: string): Promise<Imports> {
  const rooms = ROOMS.filter((room) => existsSync(path.join(root, room)))
  const argv = [CRUISER, '--config', '.dependency-cruiser.cjs', '--output-type', 'json', ...rooms]
  const child = spawn(process.execPath, argv, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] })
  const { summary } = cruised.parse(JSON.parse(await text(child.stdout)))
  if (summary.totalCruised === 0) throw new Error(`dependency-cruiser saw no module in ${rooms.join(', ')}`)
  const why = new Map(summary.ruleSetUsed.forbidden.map((rule) => [rule.name, rule.comment]))
  const violations = summary.violations.map(({ rule, from, to }) => ({
    rule: rule.name,
    from,
    to,
    why: why.get(rule.name) ?? '',
  }))
  return { modules: summary.totalCruised, violations }
}

const ROOMS = [
  'packages',
  'functions',
  'server',
  'builder-agent',
  'host-agent',
  'cli',
  'console',
  'infra',
  'test',
  'bench',
  'scripts',
]

const CRUISER = fileURLToPath(
  new URL('../node_modules/dependency-cruiser/bin/dependency-cruiser.mjs', import.meta.url),
)

const cruised = z.object({
  summary: z.object({
    totalCruised: z.number(),
    ruleSetUsed: z.object({ forbidden: z.array(z.object({ name: z.string(), comment: z.string() })) }),
    violations: z.array(z.object({ from: z.string(), to: z.string(), rule: z.object({ name: z.string() }) })),
  }),
})

if (import.meta.main) {
  const { modules, violations } = await readImports(
    path.dirname(path.dirname(fileURLToPath(import.meta.url))),
  )
  for (const { rule, from, to, why } of violations) console.log(`${rule}: ${from} -> ${to}\n  ${why}`)
  console.log(`${modules} modules, ${violations.length} forbidden imports`)
  process.exitCode = violations.length === 0 ? 0 : 1
}
