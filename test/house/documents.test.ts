import { existsSync, globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import * as z from 'zod'

const root = fileURLToPath(new URL('../..', import.meta.url))
const documents = globSync(['*.md', 'docs/**/*.md'], { cwd: root })

describe('the documents', () => {
  it.each(documents)('%s links only to files that exist', (document) => {
    const links = [...read(document).matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)/g)].map(
      ([, link]) => link ?? '',
    )
    expect(links.filter((link) => !existsSync(path.join(root, path.dirname(document), link)))).toEqual([])
  })

  it('of the architecture open with files that exist', () => {
    const [, table = ''] = read('ARCHITECTURE.md').split('## Which file to open first')
    const named = [...table.matchAll(/`([\w./*-]+\/[\w./*-]*)`/g)].map(([, file]) => file ?? '')
    expect(named.length).toBeGreaterThan(10)
    expect(named.filter((file) => globSync(file, { cwd: root }).length === 0)).toEqual([])
  })

  it.each(documents)('%s names only npm scripts that exist', (document) => {
    const { scripts } = z
      .object({ scripts: z.record(z.string(), z.string()) })
      .parse(JSON.parse(read('package.json')))
    const named = [...read(document).matchAll(/npm run (?:-s )?([a-z][\w:-]*)/g)].map(
      ([, name]) => name ?? '',
    )
    expect(named.filter((name) => scripts[name] === undefined)).toEqual([])
  })

  it('number the decisions without a gap, and each says what would change it', () => {
    const decisions = globSync('docs/adr/*.md', { cwd: root }).sort((a, b) => a.localeCompare(b))
    for (const [index, file] of decisions.entries()) {
      expect(path.basename(file)).toMatch(
        new RegExp(`^${String(index + 1).padStart(4, '0')}-[a-z0-9-]+\\.md$`),
      )
      const headings = [...read(file).matchAll(/^## (.+)$/gm)].map(([, heading]) => heading)
      expect(headings).toEqual(['Context', 'Decision', 'Consequences', 'What would change our mind'])
    }
  })
})

function read(file: string): string {
  return readFileSync(path.join(root, file), 'utf8')
}
