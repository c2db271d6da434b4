import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { RUNBOOK_SECTIONS } from '../../infra/alarms.ts'
import { cfNowhere } from './cf-nowhere.ts'

const root = join(import.meta.dirname, '../..')
const document = (name: string): Promise<string> => readFile(join(root, 'docs', name), 'utf8')

type Block = { readonly kind: string; readonly text: string }

function blocks(text: string): Block[] {
  return [...text.matchAll(/^```(sh[a-z ]*)\n([\s\S]*?)^```$/gm)].map(([, kind = '', body = '']) => ({
    kind: kind.slice('sh'.length).trim(),
    text: body,
  }))
}

/** One command a line, with its continuation lines. */
function commands(block: Block): string[] {
  return block.text
    .replaceAll('\\\n', ' ')
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
}

test('the runbook has a section for every alarm, under the name that the alarm has', async () => {
  const [alarms = ''] = (await document('runbook.md')).split('\n# Procedures')
  const [opening = '', ...sections] = alarms.split('\n## ')
  const slugs = sections.map((section) => (section.split('\n')[0] ?? '').toLowerCase().replaceAll(' ', '-'))
  const listed = /do not change:\n\n([a-z0-9-, \n]+)\n\n/.exec(opening)?.[1]?.split(/,\s+/) ?? []
  expect(listed).toEqual(slugs)
  expect(RUNBOOK_SECTIONS.filter((section) => !slugs.includes(section))).toEqual([])
  for (const [index, section] of sections.entries()) {
    const parts = [...section.matchAll(/^\*\*(Means|Look|Fix|Done when)/gm)].map(([, part]) => part)
    expect(parts, slugs[index]).toEqual(['Means', 'Look', 'Fix', 'Done when'])
  }
})

test.each(['runbook.md', 'deploy.md'])(
  'every cf command in %s is one that cf knows, with its flags',
  async (name) => {
    const lines = blocks(await document(name))
      .flatMap(commands)
      .flatMap((line) => /(?:^|npm run -s )cf (?:-- )?([a-z].*)$/.exec(line)?.[1] ?? [])
    expect(lines.length).toBeGreaterThan(4)
    for (const line of lines) {
      const words = line.split(/\s+/)
      const { code, out } = await cfNowhere([...words, '--help'])
      expect(code, line).toBe(0)
      expect(out.split('\n')[0], line).toContain(`(cf ${words[0]}`)
      // A second word that is no command leaves the help at the first one, which lists those that are.
      expect(words.length > 1 && out.includes('\nCOMMANDS'), line).toBe(false)
      for (const flag of line.match(/--[a-z-]+/g) ?? []) expect(out, line).toContain(flag)
    }
  },
)

test('the blocks of deploy.md that need no account do what they say, in their order', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'cf-deploy-'))
  try {
    const own = blocks(await document('deploy.md')).filter(({ kind }) => kind === 'run')
    expect(own.length).toBeGreaterThan(3)
    const cli = `cf() { ${process.execPath} ${join(root, 'cli/src/main.ts')} "$@"; }`
    await writeFile(join(directory, 'all.sh'), ['set -eu', cli, ...own.map(({ text }) => text)].join('\n'))
    const { stdout } = await promisify(execFile)('bash', ['all.sh'], {
      cwd: directory,
      env: { PATH: process.env['PATH'] ?? '', HOME: directory },
      timeout: 60_000,
    })
    expect(stdout).toContain('builder-1.pem: OK')
    for (const file of ['builders.crl', 'builder.key', 'web-1.key'])
      expect((await readFile(join(directory, file), 'utf8')).length).toBeGreaterThan(20)
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
})

test.each(['runbook.md', 'deploy.md'])('%s marks what needs an account', async (name) => {
  for (const block of blocks(await document(name)))
    if (/^(?:aws|npx cdk|export CF_SERVER)/m.test(block.text)) expect(block.kind, block.text).toBe('account')
})
