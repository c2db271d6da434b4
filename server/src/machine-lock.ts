import { createHash, randomUUID } from 'node:crypto'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Runs `work` while no other process of this machine, and no other caller in this process, runs under the same name.
 * The lock is an abstract Unix socket: the kernel frees it when its holder dies, so it is never stale.
 */
export async function withMachineLock<T>(name: string, work: () => Promise<T>): Promise<T> {
  const lock = await acquire(name)
  try {
    return await work()
  } finally {
    await new Promise((done) => lock.close(done))
  }
}

/** Takes the lock for as long as this process lives or until it is released; undefined when another holds it. */
export async function holdMachineLock(name: string): Promise<(() => Promise<void>) | undefined> {
  const lock = await listen(addressOf(name))
  if (!lock) return undefined
  lock.unref()
  return async () => {
    await new Promise((done) => lock.close(done))
  }
}

function addressOf(name: string): string {
  return `\0crystal-forge-${createHash('sha256').update(name).digest('hex').slice(0, 40)}`
}

async function acquire(name: string): Promise<Server> {
  const address = addressOf(name)
  const deadline = Date.now() + LOCK_WAIT_MS_MAX
  for (;;) {
    const lock = await listen(address)
    if (lock) return lock
    if (Date.now() > deadline) {
      throw new Error(
        `another process has held the lock "${name}" for ${LOCK_WAIT_MS_MAX / 1000} s: is it stuck?`,
      )
    }
    await sleep(LOCK_RETRY_MS)
  }
}

function listen(address: string): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy())
    server.once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'EADDRINUSE' ? resolve(undefined) : reject(error),
    )
    server.listen(address, () => resolve(server))
  })
}

/** One user among several of something that the last of them takes down. */
export type SharedUse = {
  /** Resolves to true when no living user is left. Call it while holding the lock of the shared thing. */
  leave(): Promise<boolean>
}

/**
 * Registers this process in `directory`. Users that died without leaving are recognised by process id and start time
 * and do not count. Call it while holding the lock of the shared thing.
 */
export async function enterShared(directory: string): Promise<SharedUse> {
  await mkdir(directory, { recursive: true, mode: 0o755 })
  const mine = join(
    directory,
    `${process.pid}-${(await startTime(process.pid)) ?? 'unknown'}-${randomUUID()}`,
  )
  await writeFile(mine, '')
  return {
    leave: async () => {
      await rm(mine, { force: true })
      const others = await readdir(directory).catch(() => [])
      const alive = await Promise.all(others.map((name) => livesOn(directory, name)))
      return !alive.includes(true)
    },
  }
}

async function livesOn(directory: string, name: string): Promise<boolean> {
  const [pid, started] = name.split('-')
  if ((await startTime(Number(pid))) === started) return true
  await rm(join(directory, name), { force: true })
  return false
}

/**
 * When a process began, in clock ticks after boot, or undefined when there is none: one that has ended and waits for its
 * parent to ask how (a zombie, which below a parent that never asks stays for ever) uses nothing any more.
 */
async function startTime(pid: number): Promise<string | undefined> {
  const line = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined)
  // The command name stands in parentheses and may hold spaces and parentheses itself.
  const fields = line?.slice(line.lastIndexOf(')') + 2).split(' ')
  return fields?.[0] === 'Z' || fields?.[0] === 'X' ? undefined : fields?.[START_TIME_FIELD]
}

/** Initialising a cluster on a slow disk takes seconds; a minute means that somebody hangs. */
const LOCK_WAIT_MS_MAX = 60_000
const LOCK_RETRY_MS = 20
/** Field 22 of proc(5), counted from the state, which is field 3. */
const START_TIME_FIELD = 19
