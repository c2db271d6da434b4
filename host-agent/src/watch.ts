import { type FSWatcher, statSync, watch } from 'node:fs'
import path from 'node:path'
import { readSystemPaths, type SystemPaths, samePaths } from './collectors/system-paths.ts'
import { type Log, reason } from './json-log.ts'
import type { RootedTree } from './rooted-tree.ts'

/**
 * Tells of changes of `/run/current-system`, `/run/booted-system` and the system profile until the signal is aborted.
 * Watches the directories, because inotify follows a link and never sees it swapped. The links are read inside the event, so that a
 * system that ran for a moment (A, B, A) is told too; a poll finds what no event told and directories that were replaced.
 * @param onChange gets what the links led to, one after the other, after they have been quiet for `debounceMs`.
 */
export function watchSystemPaths(
  options: {
    readonly tree: RootedTree
    readonly onChange: (seen: readonly SystemPaths[]) => void
    readonly log: Log
    readonly debounceMs?: number
    readonly pollMs?: number
  },
  signal: AbortSignal,
): void {
  const { tree, onChange, debounceMs = 100, pollMs = 60_000 } = options
  let last = readSystemPaths(tree)
  let seen: SystemPaths[] = []
  let quiet: NodeJS.Timeout | undefined

  const look = () => {
    const now = readSystemPaths(tree)
    if (samePaths(now, last)) return
    last = now
    seen = [...seen, now].slice(-CHANGES_MAX)
    clearTimeout(quiet)
    quiet = setTimeout(() => {
      const told = seen
      seen = []
      onChange(told)
    }, debounceMs)
  }
  const directories = WATCHED.map(({ directory, names }) =>
    watchDirectory({ directory: path.join(tree.root, directory), names, onEvent: look, log: options.log }),
  )
  const check = () => {
    for (const one of directories) one.renew()
    look()
  }
  check()
  const poll = setInterval(check, pollMs)
  signal.addEventListener(
    'abort',
    () => {
      clearInterval(poll)
      clearTimeout(quiet)
      for (const one of directories) one.close()
    },
    { once: true },
  )
}

type DirectoryWatch = {
  /** Watches again when the directory is another one than before; does nothing when it is the same. */
  renew(): void
  close(): void
}

function watchDirectory(options: {
  readonly directory: string
  readonly names: RegExp
  readonly onEvent: () => void
  readonly log: Log
}): DirectoryWatch {
  const { directory, names, onEvent, log } = options
  let watcher: FSWatcher | null = null
  let watched: string | null = null

  const stop = () => {
    watcher?.close()
    watcher = null
    watched = null
  }
  const renew = () => {
    const found = identity(directory)
    if (found !== null && found === watched) return
    stop()
    if (found === null) return
    try {
      watcher = watch(directory, (_, name) => {
        // A directory that is replaced tells its own name.
        if (name === path.basename(directory)) renew()
        if (name === null || names.test(name) || name === path.basename(directory)) onEvent()
      })
      watcher.on('error', (error) => {
        log('warn', 'a watch ended; changes are found by polling', { directory, because: reason(error) })
        stop()
      })
      watched = found
    } catch (error) {
      log('warn', 'cannot watch; changes are found by polling', { directory, because: reason(error) })
    }
  }
  return { renew, close: stop }
}

function identity(directory: string): string | null {
  const stat = statSync(directory, { throwIfNoEntry: false, bigint: true })
  return stat === undefined ? null : `${stat.dev}:${stat.ino}`
}

const WATCHED = [
  { directory: 'run', names: /^(current|booted)-system$/ },
  { directory: 'nix/var/nix/profiles', names: /^system(-[0-9]+-link)?$/ },
]
/** Nobody switches so often within a tenth of a second; a loop that does must not fill the memory. */
const CHANGES_MAX = 16
