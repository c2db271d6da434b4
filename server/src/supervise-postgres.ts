import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '@crystal-forge/functions/log.ts'
import type { EmbeddedPostgres } from './embedded-postgres.ts'

/** Looks after a database server; `stop` before the server is stopped on purpose. */
export type Supervision = { stop(): Promise<void> }

/**
 * Starts the embedded Postgres again when it died. At once the first time, later after pauses that double, until it has
 * lived for a while. Connections break meanwhile, and pools make new ones.
 */
export function supervisePostgres(
  postgres: Pick<EmbeddedPostgres, 'isRunning' | 'revive'>,
  log: Log,
): Supervision {
  const stopping = new AbortController()
  const pause = (ms: number): Promise<void> =>
    sleep(ms, undefined, { signal: stopping.signal }).catch(() => {})
  const watch = async (): Promise<void> => {
    let deaths = 0
    let calmSince = Date.now()
    while (!stopping.signal.aborted) {
      await pause(LOOK_MS)
      if (stopping.signal.aborted) return
      if (await postgres.isRunning()) {
        if (Date.now() - calmSince > CALM_MS) deaths = 0
        continue
      }
      const waitMs = restartPause(deaths++)
      log('error', 'the embedded Postgres died: starting it again', { deaths, waitMs })
      await pause(waitMs)
      if (stopping.signal.aborted) return
      await postgres.revive().then(
        (pid) => log('info', 'the embedded Postgres runs again', { postgresPid: pid }),
        (error: unknown) => log('error', 'the embedded Postgres did not start', { error }),
      )
      calmSince = Date.now()
    }
  }
  const watching = watch()
  return {
    stop: async () => {
      stopping.abort()
      await watching
    },
  }
}

/** Milliseconds before a restart, by the number of deaths before this one. */
export function restartPause(deaths: number): number {
  return deaths === 0 ? 0 : Math.min(PAUSE_MS_MAX, 500 * 2 ** (deaths - 1))
}

const LOOK_MS = 200
const CALM_MS = 60_000
const PAUSE_MS_MAX = 30_000
