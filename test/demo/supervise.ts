import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'

export type Program = {
  readonly name: string
  readonly argv: readonly string[]
  readonly environment: Readonly<Record<string, string>>
  readonly logFile: string
  readonly cwd: string
}

export type Supervised = {
  readonly name: string
  /** Process id of the present run. */
  pid(): number | undefined
  /** How often it was started again. */
  restarts(): number
  /** SIGKILL to the present run; the supervisor starts it again, as systemd would. */
  kill(): void
  /** Ends it with SIGTERM and resolves when it is gone. */
  stop(): Promise<void>
}

/** Keeps one program running, as systemd does with `Restart=always`; what it prints goes to its log file. */
export function supervise(program: Program, onRestart: (name: string, how: string) => void): Supervised {
  let stopping = false
  let restarts = 0
  let child = start(program)
  let ended = exit(child)
  const watch = async (): Promise<void> => {
    for (;;) {
      const how = await ended
      if (stopping) return
      if (restarts >= RESTARTS_MAX)
        throw new Error(`${program.name} ended ${restarts} times (${how}); see ${program.logFile}`)
      restarts += 1
      onRestart(program.name, how)
      child = start(program)
      ended = exit(child)
    }
  }
  const watching = watch()
  // The failure is raised by `stop`; until then it must not end the process as unhandled.
  watching.catch(() => {})
  return {
    name: program.name,
    pid: () => child.pid,
    restarts: () => restarts,
    kill: () => child.kill('SIGKILL'),
    stop: async () => {
      stopping = true
      child.kill('SIGTERM')
      const hard = setTimeout(() => child.kill('SIGKILL'), STOP_MS_MAX)
      await watching
      clearTimeout(hard)
    },
  }
}

function start(program: Program): ChildProcess {
  const log = openSync(program.logFile, 'a')
  try {
    const [command = process.execPath, ...args] = program.argv
    return spawn(command, args, {
      cwd: program.cwd,
      env: { ...program.environment },
      stdio: ['ignore', log, log],
    })
  } finally {
    closeSync(log)
  }
}

function exit(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('exit', (code, signal) => resolve(signal ?? `exit ${code}`))
  })
}

/** A program that cannot stay up is reported instead of restarted for ever. */
const RESTARTS_MAX = 10
const STOP_MS_MAX = 15_000
