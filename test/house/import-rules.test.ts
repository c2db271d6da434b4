import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Imports, readImports } from '../../scripts/imports.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** One planted violation: a file and what it must not import. The rules with several rows have several doors. */
const FORBIDDEN: readonly { rule: string; file: string; imports: string }[] = [
  { rule: 'protocol', file: 'packages/protocol/src/a.ts', imports: '@crystal-forge/control-plane' },
  { rule: 'nix-cli', file: 'packages/nix-cli/src/a.ts', imports: '@crystal-forge/aws' },
  { rule: 'aws', file: 'packages/aws/src/a.ts', imports: '@crystal-forge/control-plane' },
  { rule: 'control-plane', file: 'packages/control-plane/src/a.ts', imports: '@crystal-forge/postgres' },
  { rule: 'postgres', file: 'packages/postgres/src/a.ts', imports: '@crystal-forge/aws' },
  { rule: 'functions', file: 'functions/claim/handler.ts', imports: '@crystal-forge/nix-cli' },
  { rule: 'server', file: 'server/src/a.ts', imports: '../../builder-agent/src/ok.ts' },
  { rule: 'server', file: 'server/src/b.ts', imports: '@crystal-forge/nix-cli' },
  { rule: 'builder-agent', file: 'builder-agent/src/a.ts', imports: '@crystal-forge/postgres' },
  { rule: 'host-agent', file: 'host-agent/src/a.ts', imports: '@crystal-forge/control-plane' },
  { rule: 'host-agent', file: 'host-agent/src/b.ts', imports: '@crystal-forge/aws' },
  { rule: 'cli', file: 'cli/src/a.ts', imports: '@crystal-forge/nix-cli' },
  { rule: 'infra', file: 'infra/app.ts', imports: '../functions/ok/handler.ts' },
  { rule: 'tests-stay-out', file: 'server/src/c.ts', imports: '../../test/ok.ts' },
  { rule: 'tests-stay-out', file: 'server/src/d.ts', imports: './ok.test.ts' },
  { rule: 'sign-not-verify', file: 'packages/protocol/src/sign-request.ts', imports: './http/verify-ok.ts' },
  { rule: 'verify-not-sign', file: 'packages/protocol/src/http/verify.ts', imports: '../sign-ok.ts' },
  { rule: 'io-stays-out', file: 'packages/control-plane/src/b.ts', imports: 'node:fs' },
  { rule: 'io-stays-out', file: 'packages/control-plane/src/c.ts', imports: 'pg' },
  { rule: 'aws-sdk-in-one-place', file: 'functions/claim/b.ts', imports: '@aws-sdk/client-sqs' },
  { rule: 'declared-only', file: 'cli/src/b.ts', imports: 'pg' },
  { rule: 'resolvable', file: 'cli/src/c.ts', imports: './not-there.ts' },
  { rule: 'no-cycles', file: 'cli/src/d.ts', imports: './e.ts' },
]

const ALLOWED: readonly { file: string; imports: readonly string[] }[] = [
  { file: 'packages/protocol/src/index.ts', imports: ['./sign-ok.ts', './http/verify-ok.ts', 'zod'] },
  { file: 'packages/protocol/src/sign-ok.ts', imports: ['./signature-base.ts'] },
  { file: 'packages/protocol/src/http/verify-ok.ts', imports: ['../signature-base.ts'] },
  { file: 'packages/protocol/src/signature-base.ts', imports: ['node:crypto'] },
  { file: 'packages/nix-cli/src/index.ts', imports: ['@crystal-forge/protocol'] },
  { file: 'packages/aws/src/index.ts', imports: ['@crystal-forge/protocol', '@aws-sdk/client-sqs'] },
  { file: 'packages/control-plane/src/index.ts', imports: ['@crystal-forge/protocol'] },
  { file: 'packages/postgres/src/index.ts', imports: ['@crystal-forge/control-plane', 'pg'] },
  { file: 'functions/routes.ts', imports: ['./ok/handler.ts'] },
  { file: 'functions/ok/config.ts', imports: ['zod'] },
  {
    file: 'functions/ok/handler.ts',
    imports: ['@crystal-forge/postgres', '@crystal-forge/aws', './config.ts'],
  },
  { file: 'functions/ok/handler.test.ts', imports: ['@aws-sdk/client-sqs', '../../server/src/ok.ts'] },
  { file: 'server/src/ok.ts', imports: ['../../functions/routes.ts', '@crystal-forge/postgres', 'pino'] },
  { file: 'server/src/ok.test.ts', imports: ['../../builder-agent/src/ok.ts'] },
  { file: 'builder-agent/src/ok.ts', imports: ['@crystal-forge/nix-cli', '@crystal-forge/aws'] },
  { file: 'host-agent/src/ok.ts', imports: ['@crystal-forge/nix-cli', '@crystal-forge/protocol'] },
  { file: 'cli/src/ok.ts', imports: ['@crystal-forge/protocol', 'citty'] },
  { file: 'cli/src/e.ts', imports: ['./d.ts'] },
  { file: 'infra/stacks.ts', imports: ['../functions/routes.ts', '../functions/ok/config.ts'] },
  { file: 'test/ok.ts', imports: ['../server/src/ok.ts', '../host-agent/src/ok.ts'] },
]

let tree: string
let imports: Imports

beforeAll(async () => {
  await mkdir(path.join(root, '.cache'), { recursive: true })
  tree = await mkdtemp(path.join(root, '.cache', 'import-rules-'))
  await plantTree(tree)
  imports = await readImports(tree)
})

afterAll(async () => {
  await rm(tree, { recursive: true, force: true })
})

describe('the import table', () => {
  it.each(FORBIDDEN)('refuses, by rule $rule, that $file imports $imports', ({ rule, file }) => {
    const found = imports.violations.filter((violation) => violation.from === file)
    expect(found.map((violation) => violation.rule)).toContain(rule)
  })

  it('accepts everything that the table allows', () => {
    const planted = new Set(FORBIDDEN.map(({ file }) => file))
    // The other half of the planted cycle is part of that violation.
    planted.add('cli/src/e.ts')
    expect(imports.violations.filter((violation) => !planted.has(violation.from))).toEqual([])
  })

  it('has no rule without a planted violation, and no rule without a sentence', async () => {
    const rules = await readFile(path.join(root, '.dependency-cruiser.cjs'), 'utf8')
    const names = [...rules.matchAll(/(?:only|never)\(\s*'([a-z-]+)'|name: '([a-z-]+)'/g)].map(
      (m) => m[1] ?? m[2],
    )
    expect(new Set(names)).toEqual(new Set(FORBIDDEN.map(({ rule }) => rule)))
    for (const violation of imports.violations) expect(violation.why).toMatch(/^[A-Za-z].{20,}\.$/)
  })
})

/** A checkout with our rule file, our manifests, links to our workspaces, and nothing but the rows above. */
async function plantTree(into: string): Promise<void> {
  for (const file of ['.dependency-cruiser.cjs', 'tsconfig.json', 'package.json']) {
    await cp(path.join(root, file), path.join(into, file))
  }
  await mkdir(path.join(into, 'node_modules', '@crystal-forge'), { recursive: true })
  for (const workspace of WORKSPACES) {
    await mkdir(path.join(into, workspace), { recursive: true })
    await cp(path.join(root, workspace, 'package.json'), path.join(into, workspace, 'package.json'))
    const link = path.join(into, 'node_modules', '@crystal-forge', path.basename(workspace))
    await symlink(path.join(into, workspace), link)
  }
  // Third parties are stand-ins with a manifest and an entry; the real ones lie outside of the planted tree.
  for (const name of ['zod', 'pg', 'pino', 'citty', '@aws-sdk/client-sqs']) {
    const home = path.join(into, 'node_modules', name)
    await mkdir(home, { recursive: true })
    await writeFile(
      path.join(home, 'package.json'),
      JSON.stringify({ name, version: '1.0.0', main: 'index.js' }),
    )
    await writeFile(path.join(home, 'index.js'), '')
  }
  const rows = [...ALLOWED, ...FORBIDDEN.map(({ file, imports: to }) => ({ file, imports: [to] }))]
  for (const row of rows) {
    await mkdir(path.dirname(path.join(into, row.file)), { recursive: true })
    const lines = row.imports.map(
      (to, index) => `import type * as i${index} from '${to}'\nexport type T${index} = typeof i${index}\n`,
    )
    await writeFile(path.join(into, row.file), lines.join(''))
  }
}

const WORKSPACES = [
  'packages/protocol',
  'packages/control-plane',
  'packages/postgres',
  'packages/aws',
  'packages/nix-cli',
  'functions',
  'server',
  'builder-agent',
  'host-agent',
  'cli',
]
