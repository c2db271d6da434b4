import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import * as z from 'zod'
import { createTestDatabase } from '../postgres/test-database.ts'
import { evaluateNix, harness } from './evaluate.ts'
import { systemdRunner } from './own-systemd.ts'
import type { ServerUnitReport } from './server-unit-scenario.ts'

const runner = systemdRunner()
const root = fileURLToPath(new URL('../..', import.meta.url))
const hidden = /^\/(home|root|tmp)\//.test(root)
// Packages of the real tree are stubs, so there is no server in it to run.
const stubs = harness === undefined ? null : '(skipped: with the real modules there are no real packages)'
const note = hidden ? '(skipped: the unit cannot see this checkout)' : (stubs ?? runner.note)
const evaluated = z.looseObject({ fleet: z.string().nullable() })

it.skipIf(runner.prefix === null || hidden || harness !== undefined)(
  `the server runs in its unit with everything that the unit takes from it, and what is declared is applied ${note}`,
  { timeout: 180_000 },
  async () => {
    const database = await createTestDatabase({ content: 'empty' })
    const directory = await mkdtemp(path.join(tmpdir(), 'server-unit-'))
    try {
      const { hostname, port, username, pathname } = new URL(database.url)
      const given = { host: hostname, port, user: username, database: pathname.slice(1) }
      const units = evaluated.parse(await evaluateNix('server-unit.nix', { generation: '24.11', ...given }))
      const file = path.join(directory, 'units.json')
      await writeFile(file, JSON.stringify(units))
      const scenario = path.join(import.meta.dirname, 'server-unit-scenario.ts')
      const [program = '', ...argv] = [...(runner.prefix ?? []), process.execPath, scenario, file, root]
      const { stdout } = await promisify(execFile)(program, argv, { timeout: 170_000 })
      const report: ServerUnitReport = JSON.parse(/^REPORT (.*)$/m.exec(stdout)?.[1] ?? '')
      expect(report).toEqual({
        status: expect.objectContaining({ database: 'healthy' }),
        state: '700 crystal-forge',
        secrets: '600 crystal-forge',
        systems: [expect.objectContaining({ hostname: 'web-1', environment: 'production' })],
        restarts: '0',
      })
    } finally {
      await database.drop()
      await rm(directory, { recursive: true })
    }
  },
)
