import { execFile, execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import * as z from 'zod'
import { seedFleet } from '../dashboards/demo-fleet.ts'
import { createTestDatabase, type TestDatabase } from '../postgres/test-database.ts'
import { evaluateNix, harness, nix } from './evaluate.ts'

const made = z.object({
  script: z.string(),
  preStart: z.string(),
  secretKey: z.string(),
  credentials: z.array(z.string()),
  grafanaCredentials: z.array(z.string()),
  authentication: z.string(),
  datasource: z.looseObject({ jsonData: z.record(z.string(), z.json()) }),
  provider: z.looseObject({ options: z.object({ path: z.string() }) }),
})

describe.skipIf(nix.version === null)(`services.crystal-forge.dashboards ${nix.note}`, () => {
  const directory = mkdtempSync(join(tmpdir(), 'grafana-'))
  let database: TestDatabase
  let name: string
  let user: string
  let unit: z.infer<typeof made>
  beforeAll(
    async () => {
      database = await createTestDatabase()
      await seedFleet(database.admin, 'default')
      await seedFleet(database.admin, 'another')
      name = new URL(database.url).pathname.slice(1)
      user = `grafana_${name}`
      unit = made.parse(await evaluateNix('grafana.nix', { user, database: name }))
      writeFileSync(join(directory, 'password'), "it's a password\n")
    },
    harness === undefined ? 60_000 : 600_000,
  )
  afterAll(async () => {
    await database.admin.query(`drop owned by ${user}; drop role ${user}`).catch(() => undefined)
    await database.drop()
    rmSync(directory, { recursive: true })
  })

  it('makes a role that sees the tenant of the server and nothing else, however often it runs', async ({
    skip,
  }) => {
    const psql = findPsql()
    if (psql === undefined) return skip('psql is not installed')
    const { hostname, port, username } = new URL(database.url)
    const env = {
      PATH: '/usr/bin:/bin',
      PGHOST: hostname,
      PGPORT: port,
      PGUSER: username,
      CREDENTIALS_DIRECTORY: directory,
    }
    for (const _ of [1, 2]) {
      const { stdout } = await promisify(execFile)('bash', ['-euo', 'pipefail', '-c', unit.script], {
        env,
        timeout: 60_000,
      })
      expect(stdout.trim()).toBe('')
    }
    const pool = database.poolFor(user)
    expect((await pool.query('select name from tenant')).rows).toEqual([{ name: 'default' }])
    expect((await pool.query('select hostname from host_detail order by 1')).rows).toHaveLength(3)
    await expect(pool.query('select from api_token')).rejects.toThrow(/permission denied/)
    await expect(pool.query('delete from system')).rejects.toThrow(/permission denied/)
    const { rows } = await database.admin.query(
      'select rolpassword, rolsuper from pg_authid where rolname = $1',
      [user],
    )
    expect(rows).toEqual([{ rolpassword: expect.stringMatching(/^SCRAM-SHA-256\$/), rolsuper: false }])
  })

  it('gives every Grafana a key of its own, keeps it, and keeps that of a database of before', async () => {
    const dataDir = join(directory, 'state')
    const keyIn = async (state: 'new' | 'old'): Promise<string> => {
      rmSync(dataDir, { recursive: true, force: true })
      mkdirSync(join(dataDir, 'data'), { recursive: true })
      if (state === 'old') writeFileSync(join(dataDir, 'data/grafana.db'), '')
      const of = made.parse(await evaluateNix('grafana.nix', { user, database: name, dataDir }))
      expect(of.secretKey).toBe(`$__file{${dataDir}/crystal-forge-secret-key}`)
      const start = () =>
        execFileSync('/bin/bash', ['--norc', '-e', '-c', of.preStart], { env: { PATH: '/nowhere' } })
      start()
      const key = readFileSync(join(dataDir, 'crystal-forge-secret-key'), 'utf8')
      expect(statSync(join(dataDir, 'crystal-forge-secret-key')).mode & 0o777).toBe(0o600)
      start()
      expect(readFileSync(join(dataDir, 'crystal-forge-secret-key'), 'utf8')).toBe(key)
      return key
    }
    const first = await keyIn('new')
    expect(first).toMatch(/^[0-9a-f]{64}$/)
    expect(await keyIn('new')).not.toBe(first)
    // What Grafana had as its default, and says so in its documentation.
    expect(await keyIn('old')).toBe('SW2YcwTIb9zpOOhoPsMm\n')
    const own = { user, database: name, secretKey: '$__file{/run/keys/grafana}' }
    const chosen = made.parse(await evaluateNix('grafana.nix', own))
    expect([chosen.secretKey, chosen.preStart.trim()]).toEqual([own.secretKey, ''])
  })

  it('lets it in by the line that stands before the one for everybody', () => {
    const lines = unit.authentication.split('\n').map((line) => line.trim())
    const own = lines.indexOf(`local ${name} ${user} scram-sha-256`)
    expect(own).toBeGreaterThanOrEqual(0)
    expect(lines.findIndex((line) => /^local (all|crystal_forge) all/.test(line))).toBeGreaterThan(own)
  })

  it('gives Grafana the datasource of the dashboards, with a password that no file of the store holds', () => {
    expect(unit.datasource).toMatchObject({
      uid: 'crystal-forge-postgres',
      type: 'grafana-postgresql-datasource',
      user,
      url: '/run/postgresql',
      jsonData: { database: name, sslmode: 'disable' },
      secureJsonData: { password: '$__file{/run/credentials/grafana.service/crystal-forge-password}' },
    })
    expect(unit.credentials).toEqual(['password:/run/secrets/grafana'])
    expect(unit.grafanaCredentials).toEqual(['crystal-forge-password:/run/secrets/grafana'])
    expect(unit.provider.options.path).toMatch(
      /^\/nix\/store\/.*crystal-forge-dashboards.*\/share\/crystal-forge\/dashboards$/,
    )
  })
})

function findPsql(): string | undefined {
  try {
    return execFileSync('psql', ['--version'], { env: { PATH: '/usr/bin:/bin' } }).toString()
  } catch {
    return undefined
  }
}
