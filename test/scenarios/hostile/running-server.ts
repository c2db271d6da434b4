import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { connectControlPlane, type ServerFacts } from '../../demo/control-plane.ts'
import { createTestDatabase, type TestDatabase } from '../../postgres/test-database.ts'

export type RunningServer = {
  readonly facts: ServerFacts
  readonly adminToken: string
  readonly database: TestDatabase
  readonly directory: string
  /** Everything that it has printed. */
  log(): Promise<string>
  exitCode(): number | null
  stop(): Promise<void>
}

export const ROOT: string = fileURLToPath(new URL('../../..', import.meta.url))

/** The control plane as its own process, with everything that it logs, on a database that the test may look into. */
export async function runServer(): Promise<RunningServer> {
  const database = await createTestDatabase()
  const directory = await mkdtemp(join(tmpdir(), 'cf-bad-input-'))
  const logFile = join(directory, 'server.log')
  const child = start(directory, logFile, database.url)
  const stop = async (): Promise<void> => {
    if (child.exitCode === null) {
      child.kill('SIGTERM')
      await once(child, 'exit')
    }
    await database.drop()
    await rm(directory, { recursive: true, force: true })
  }
  try {
    const { facts } = await connectControlPlane(join(directory, 'data', 'server.json'), 60_000)
    const adminToken = (await readFile(facts.adminTokenFile, 'utf8')).trim()
    const log = (): Promise<string> => readFile(logFile, 'utf8')
    return { facts, adminToken, database, directory, log, exitCode: () => child.exitCode, stop }
  } catch (error) {
    process.stderr.write(await readFile(logFile, 'utf8'))
    await stop()
    throw error
  }
}

function start(directory: string, logFile: string, databaseUrl: string): ChildProcess {
  const log = openSync(logFile, 'a')
  try {
    const argv = [join(ROOT, 'server/src/main.ts'), '--verbose', '--data-dir', join(directory, 'data')]
    return spawn(process.execPath, argv, {
      stdio: ['ignore', log, log],
      env: {
        CF_EPHEMERAL: '1',
        DATABASE_URL: databaseUrl,
        // Nothing happens by itself while the state is compared.
        CRYSTAL_FORGE__SERVER__LEASE_S: '3600',
        CRYSTAL_FORGE__SERVER__SWEEP_EVERY_S: '3600',
        CRYSTAL_FORGE__SERVER__PORT: '0',
      },
    })
  } finally {
    closeSync(log)
  }
}
