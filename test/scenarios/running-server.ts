import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { connectControlPlane, type ServerFacts } from '../demo/control-plane.ts'
import { createTestDatabase, type TestDatabase } from '../postgres/test-database.ts'

export type RunningServer = {
  readonly facts: ServerFacts
  readonly adminToken: string
  readonly database: TestDatabase
  readonly directory: string
  /** Everything that it has printed. */
  log(): Promise<string>
  exitCode(): number | null
  /** SIGKILL in the middle of whatever it does, and a new start on the same data. */
  crash(): Promise<void>
  stop(): Promise<void>
}

export const ROOT: string = fileURLToPath(new URL('../..', import.meta.url))

export type Pace = { readonly leaseS: number; readonly sweepEveryS: number }

/** The control plane as its own process, with everything that it logs, on a database that the test may look into. */
export async function runServer(pace: Pace): Promise<RunningServer> {
  const database = await createTestDatabase()
  const directory = await mkdtemp(join(tmpdir(), 'cf-bad-input-'))
  const logFile = join(directory, 'server.log')
  const program = { directory, logFile, databaseUrl: database.url, pace }
  let child = start(program)
  const stop = async (): Promise<void> => {
    if (child.exitCode === null) {
      child.kill('SIGTERM')
      await once(child, 'exit')
    }
    await database.drop()
    await rm(directory, { recursive: true, force: true })
  }
  const serverFile = join(directory, 'data', 'server.json')
  const crash = async (): Promise<void> => {
    child.kill('SIGKILL')
    await once(child, 'exit')
    child = start(program)
    await connectControlPlane(serverFile, 60_000)
  }
  try {
    const { facts } = await connectControlPlane(serverFile, 60_000)
    const adminToken = (await readFile(facts.adminTokenFile, 'utf8')).trim()
    const log = (): Promise<string> => readFile(logFile, 'utf8')
    return { facts, adminToken, database, directory, log, exitCode: () => child.exitCode, crash, stop }
  } catch (error) {
    process.stderr.write(await readFile(logFile, 'utf8'))
    await stop()
    throw error
  }
}

type Program = {
  readonly directory: string
  readonly logFile: string
  readonly databaseUrl: string
  readonly pace: Pace
}

function start({ directory, logFile, databaseUrl, pace }: Program): ChildProcess {
  const log = openSync(logFile, 'a')
  try {
    const argv = [join(ROOT, 'server/src/main.ts'), '--verbose', '--data-dir', join(directory, 'data')]
    return spawn(process.execPath, argv, {
      stdio: ['ignore', log, log],
      env: {
        CF_EPHEMERAL: '1',
        DATABASE_URL: databaseUrl,
        CRYSTAL_FORGE__SERVER__LEASE_S: String(pace.leaseS),
        CRYSTAL_FORGE__SERVER__SWEEP_EVERY_S: String(pace.sweepEveryS),
        CRYSTAL_FORGE__SERVER__PORT: '0',
      },
    })
  } finally {
    closeSync(log)
  }
}
