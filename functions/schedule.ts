import type { Log } from './log.ts'

/** What EventBridge and the timers of `server/` call. The answer is logged and read by tests. */
export type ScheduledHandler<Done> = () => Promise<Done>

/** Logs the outcome of a scheduled piece of work (quietly when there was nothing to do), and its failure with the cause before it is thrown on. */
export function scheduled<Done extends Readonly<Record<string, number>>>(
  name: string,
  work: () => Promise<Done>,
  log: Log,
): ScheduledHandler<Done> {
  return async () => {
    try {
      const done = await work()
      log(Object.values(done).some((value) => value !== 0) ? 'info' : 'debug', name, done)
      return done
    } catch (error) {
      log('error', `${name} failed`, { error })
      throw error
    }
  }
}
