export type LogLevel = 'info' | 'warn' | 'error'

/** One event of the agent. Fields are plain data; keys, seeds, tokens and bodies are never among them. */
export type Log = (level: LogLevel, message: string, fields?: Readonly<Record<string, unknown>>) => void

/** One JSON object a line, for journald: `at` (ISO 8601), `level`, `program`, `message`, then the fields. */
export function jsonLog(write: (line: string) => void, now: () => Date): Log {
  return (level, message, fields = {}) => {
    write(
      `${JSON.stringify({ at: now().toISOString(), level, program: 'host-agent', message, ...fields })}\n`,
    )
  }
}

/** The message of whatever was thrown, with those of its causes. */
export function reason(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause === undefined ? error.message : `${error.message}: ${reason(error.cause)}`
}
