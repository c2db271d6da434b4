import { execFile } from 'node:child_process'
import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, describe, expect, it } from 'vitest'
import * as z from 'zod'
import { evaluateNix, harness, nix } from './evaluate.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const directory = mkdtempSync(path.join(tmpdir(), 'documents-'))
const blocks = globSync(['*.md', 'docs/**/*.md'], { cwd: root })
  .sort()
  .flatMap((document) =>
    [...readFileSync(path.join(root, document), 'utf8').matchAll(/^```nix\n(.*?)^```$/gms)].map(
      ([, text = ''], at) => ({ name: `${document}, block ${at + 1}`, text }),
    ),
  )
const isFlake = ({ text }: { readonly text: string }): boolean => /^ {2}(inputs|outputs)\b/m.test(text)

describe.skipIf(nix.version === null)(`Nix in the documents ${nix.note}`, () => {
  afterAll(() => rmSync(directory, { recursive: true }))

  it('is there', () => {
    expect(blocks.length).toBeGreaterThan(5)
  })

  it.each(blocks.filter((block) => !isFlake(block)))(
    '$name is a configuration that holds',
    async ({ text }) => {
      const file = path.join(directory, 'block.nix')
      writeFileSync(file, text)
      const made = z
        .object({ failed: z.array(z.string()), warnings: z.array(z.string()) })
        .parse(await evaluateNix('documents.nix', { file }))
      expect(made).toEqual({ failed: [], warnings: [] })
    },
    harness === undefined ? 30_000 : 300_000,
  )

  it.each(blocks.filter(isFlake))('$name is Nix', async ({ text }) => {
    const file = path.join(directory, 'flake.nix')
    writeFileSync(file, text)
    await promisify(execFile)('nix-instantiate', ['--parse', file], {
      env: { PATH: '/usr/bin:/bin:/run/current-system/sw/bin' },
    })
  })
})
