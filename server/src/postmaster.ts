import { type ChildProcess, spawn } from 'node:child_process'
import { readFile, readlink, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Account } from './account.ts'
import type { Binaries } from './postgres-binaries.ts'

/** A running server. */
export type Postmaster = { readonly pid: number; readonly port: number }

export type Making = { readonly binaries: Binaries; readonly account: Account; readonly ephemeral: boolean }

/**
 * Makes a cluster in an empty directory that the account owns. `passwordFile` holds the superuser's password and can be
 * read by the account; without one everybody is trusted. Throws with initdb's last words.
 */
export async function initdb(
  directory: string,
  with_: Making & { readonly passwordFile: string | undefined },
): Promise<void> {
  const access =
    with_.passwordFile === undefined
      ? ['-A', 'trust']
      : ['-A', 'scram-sha-256', `--pwfile=${with_.passwordFile}`]
  const args = ['-D', directory, '-U', 'postgres', ...access, '--encoding=UTF8', '--locale=C']
  const child = launch(with_.binaries.initdb, with_.ephemeral ? [...args, '--no-sync'] : args, with_.account)
  const words = collectTail(child, () => {})
  const end = await ended(child)
  if (end !== 'code 0')
    throw new Error(`initdb could not make a cluster in ${directory} (${end}): ${words().join(' | ')}`)
}

/**
 * Runs one statement as the superuser on a cluster that no server runs on, without any login. The statement goes through
 * standard input, never the command line.
 */
export async function runInSingleUser(cluster: string, statement: string, making: Making): Promise<void> {
  const args = ['--single', '-D', cluster, 'postgres']
  const child = launch(making.binaries.postgres, args, making.account, 'pipe')
  const words = collectTail(child, () => {})
  const finished = ended(child)
  child.stdin?.on('error', () => {})
  child.stdin?.end(`${statement}\n`)
  const end = await finished
  const failed = words().some((line) => /\b(ERROR|FATAL|PANIC):/.test(line))
  if (end !== 'code 0' || failed)
    throw new Error(`Postgres could not work on ${cluster} alone (${end}): ${words().join(' | ')}`)
}

export type StartPostmaster = Making & {
  readonly cluster: string
  /** Undefined: the one of the last start, or any free one when it is taken. */
  readonly port: number | undefined
  readonly log: (line: string) => void
}

/** Starts a server on a cluster that has none and resolves when it accepts connections, after recovery if need be. */
export async function startPostmaster(start: StartPostmaster): Promise<Postmaster> {
  const deadline = Date.now() + START_MS_MAX
  for (;;) {
    const outcome = await attempt(start)
    if (outcome.kind === 'ready') return outcome.postmaster
    const passing = PASSING_TROUBLE.some((trouble) => outcome.words.some((line) => line.includes(trouble)))
    if (!passing || Date.now() > deadline) {
      throw new Error(
        `Postgres did not start on ${start.cluster} (${outcome.end}): ${outcome.words.join(' | ')}`,
      )
    }
    await sleep(RETRY_MS)
  }
}

type Attempt =
  | { readonly kind: 'ready'; readonly postmaster: Postmaster }
  | { readonly kind: 'ended'; readonly end: string; readonly words: readonly string[] }

async function attempt(start: StartPostmaster): Promise<Attempt> {
  const port = start.port ?? (await freePort(await lastPort(start.cluster)))
  const child = launch(start.binaries.postgres, postgresArguments(start, port), start.account)
  const finished = ended(child)
  let sayReady: (word: 'ready') => void = () => {}
  const ready = new Promise<'ready'>((resolve) => {
    sayReady = resolve
  })
  const words = collectTail(child, (line) => {
    start.log(line)
    if (line.includes('ready to accept connections')) sayReady('ready')
  })
  const first = await Promise.race([ready, finished])
  if (first !== 'ready' || child.pid === undefined) return { kind: 'ended', end: first, words: words() }
  if (start.ephemeral) endWithThisProcess(child)
  letGo(child)
  return { kind: 'ready', postmaster: { pid: child.pid, port } }
}

function postgresArguments(start: StartPostmaster, port: number): string[] {
  const settings = {
    listen_addresses: '127.0.0.1',
    port: String(port),
    unix_socket_directories: '',
    timezone: 'UTC',
    log_timezone: 'UTC',
    max_connections: '200',
    ...(start.ephemeral ? { fsync: 'off', full_page_writes: 'off', synchronous_commit: 'off' } : {}),
  }
  return [
    '-D',
    start.cluster,
    ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
  ]
}

/** The server that lives on a cluster and accepts connections, or undefined. A pid file that lies is removed. */
export async function livePostmaster(cluster: string): Promise<Postmaster | undefined> {
  const deadline = Date.now() + START_MS_MAX
  for (;;) {
    const found = await readPidFile(cluster)
    if (!found) return undefined
    if (!(await runsOn(found.pid, cluster))) {
      await rm(join(cluster, 'postmaster.pid'), { force: true })
      return undefined
    }
    if (found.status === 'ready') return { pid: found.pid, port: found.port }
    if (Date.now() > deadline) {
      throw new Error(
        `the Postgres on ${cluster} (process ${found.pid}) has been "${found.status}" for too long`,
      )
    }
    await sleep(RETRY_MS)
  }
}

type PidFile = { readonly pid: number; readonly port: number; readonly status: string }

async function readPidFile(cluster: string): Promise<PidFile | undefined> {
  const text = await readFile(join(cluster, 'postmaster.pid'), 'utf8').catch(() => undefined)
  return text === undefined ? undefined : parsePidFile(text)
}

/** Lines of postmaster.pid that matter here: 1 process id, 4 port, 8 status. The later ones come as the start proceeds. */
export function parsePidFile(text: string): PidFile | undefined {
  const lines = text.split('\n')
  const pid = Number(lines[0])
  if (!Number.isInteger(pid) || pid <= 1) return undefined
  return { pid, port: Number(lines[3] ?? 0), status: (lines[7] ?? '').trim() || 'starting' }
}

/** Process ids are used again, so the number alone proves nothing: a postmaster works in its cluster directory. */
export async function runsOn(pid: number, cluster: string): Promise<boolean> {
  const directory = await readlink(`/proc/${pid}/cwd`).catch(() => undefined)
  return directory === cluster
}

/** Clean shutdown: clients are disconnected, everything is written. Never SIGKILL, which would cost a recovery. */
export async function stopPostmaster(postmaster: Postmaster): Promise<void> {
  const deadline = Date.now() + STOP_MS_MAX
  signal(postmaster.pid, 'SIGINT')
  while (await isRunning(postmaster.pid)) {
    if (Date.now() > deadline)
      throw new Error(`Postgres (process ${postmaster.pid}) did not stop within ${STOP_MS_MAX} ms`)
    await sleep(STOP_POLL_MS)
  }
}

async function isRunning(pid: number): Promise<boolean> {
  const line = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined)
  // A zombie has written all it will ever write.
  return line !== undefined && !line.slice(line.lastIndexOf(')')).startsWith(') Z')
}

function signal(pid: number, name: 'SIGINT'): void {
  try {
    process.kill(pid, name)
  } catch {
    // Already gone.
  }
}

/**
 * Its own session, so that Ctrl-C in a terminal reaches only the program, which stops Postgres last. Its own small
 * environment, so that no PG* variable of the caller has a say.
 */
function launch(
  program: string,
  args: readonly string[],
  account: Account,
  stdin: 'ignore' | 'pipe' = 'ignore',
): ChildProcess {
  return spawn(program, args, {
    cwd: '/',
    detached: true,
    stdio: [stdin, 'pipe', 'pipe'],
    env: { PATH: '/usr/bin:/bin:/run/current-system/sw/bin', LC_ALL: 'C', TZ: 'UTC' },
    ...(account.switchTo ? { uid: account.uid, gid: account.gid } : {}),
  })
}

function collectTail(child: ChildProcess, each: (line: string) => void): () => readonly string[] {
  const tail: string[] = []
  for (const stream of [child.stdout, child.stderr]) {
    if (!stream) continue
    createInterface({ input: stream }).on('line', (line) => {
      tail.push(line)
      if (tail.length > TAIL_LINES_MAX) tail.shift()
      each(line)
    })
  }
  return () => tail
}

function ended(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('close', (code, name) => resolve(name === null ? `code ${code}` : `signal ${name}`))
  })
}

/** The server must not keep a program alive that has finished its work. */
function letGo(child: ChildProcess): void {
  child.unref()
  for (const stream of [child.stdout, child.stderr]) {
    if (stream && 'unref' in stream && typeof stream.unref === 'function') stream.unref()
  }
}

function endWithThisProcess(child: ChildProcess): void {
  const { pid } = child
  if (pid === undefined) return
  const end = (): void => signal(pid, 'SIGINT')
  process.once('exit', end)
  child.once('close', () => process.off('exit', end))
}

/** Postgres writes down how it was started. 0 when it never was. */
async function lastPort(cluster: string): Promise<number> {
  const options = await readFile(join(cluster, 'postmaster.opts'), 'utf8').catch(() => '')
  const port = Number(/"port=([0-9]{1,5})"/.exec(options)?.[1] ?? 0)
  return port < 65_536 ? port : 0
}

/** The wanted port where nobody listens on it, and any free one otherwise. */
function freePort(wanted: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', (error) => (wanted === 0 ? reject(error) : resolve(freePort(0))))
    probe.listen(wanted, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => {
        if (address && typeof address === 'object') resolve(address.port)
        else reject(new Error('the system named no free port'))
      })
    })
  })
}

/** What ends by itself: backends that outlive a killed postmaster, and a port that was taken in the meantime. */
const PASSING_TROUBLE = [
  'shared memory block',
  'Address already in use',
  'could not create any TCP/IP sockets',
]
const RETRY_MS = 50
/** Recovery replays at most a checkpoint interval of log; a minute covers slow disks. */
const START_MS_MAX = 60_000
const STOP_MS_MAX = 30_000
const STOP_POLL_MS = 5
const TAIL_LINES_MAX = 20
