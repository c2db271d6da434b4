export type Level = 'debug' | 'info' | 'warn' | 'error'
export type Fields = Readonly<Record<string, unknown>>

/** One structured line. Bodies, signatures, tokens and secrets are never among the fields. */
export type Log = (level: Level, message: string, fields?: Fields) => void

/** JSON lines on standard output, which Lambda and journald both collect. */
export function jsonLog(
  program: string,
  write: (line: string) => void = (line) => process.stdout.write(line),
): Log {
  return (level, message, fields = {}) => {
    write(
      `${JSON.stringify({ level, at: new Date().toISOString(), program, message, ...readable(fields) })}\n`,
    )
  }
}

/** Errors have no enumerable members: without this a log line would say `{}`. */
function readable(fields: Fields): Fields {
  return Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [key, value instanceof Error ? chain(value) : value]),
  )
}

function chain(error: Error): string {
  const own = error.stack ?? `${error.name}: ${error.message}`
  return error.cause instanceof Error ? `${own}\ncaused by ${chain(error.cause)}` : own
}
