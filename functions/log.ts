export type Level = 'debug' | 'info' | 'warn' | 'error'
export type Fields = Readonly<Record<string, unknown>>

/** One structured line. Bodies, signatures, tokens and secrets are never among the fields. */
export type Log = (level: Level, message: string, fields?: Fields) => void

export type JsonLogOptions = {
  readonly write?: (line: string) => void
  /** Names of fields that are counts: where they are numbers, CloudWatch makes metrics of them (embedded metric format). */
  readonly metrics?: readonly string[]
  /** What the function is called where it runs; its metrics carry it, so that two deployments in one account stay apart. */
  readonly deployedAs?: string | undefined
}

/** JSON lines on standard output, which Lambda and journald both collect. */
export function jsonLog(program: string, options: JsonLogOptions = {}): Log {
  const { write = (line) => process.stdout.write(line), metrics = [], deployedAs } = options
  const whose = deployedAs === undefined ? 'program' : 'function'
  return (level, message, fields = {}) => {
    const at = new Date()
    const measured = metrics.filter((name) => typeof fields[name] === 'number')
    const own = {
      level,
      at: at.toISOString(),
      program,
      ...(deployedAs === undefined ? {} : { function: deployedAs }),
      message,
    }
    const line = {
      ...own,
      ...readable(fields),
      // Filters look for these: a field of the same name must not take their place.
      ...own,
      ...(measured.length === 0 ? {} : { _aws: embeddedMetrics(at, whose, measured) }),
    }
    write(`${JSON.stringify(line).replace(STEERING, escaped)}\n`)
  }
}

/** The embedded metric format: the line itself carries the values, so that no request has to be made. */
function embeddedMetrics(at: Date, whose: string, names: readonly string[]): unknown {
  return {
    Timestamp: at.getTime(),
    CloudWatchMetrics: [
      {
        Namespace: METRIC_NAMESPACE,
        Dimensions: [[whose]],
        Metrics: names.map((Name) => ({ Name, Unit: 'Count' })),
      },
    ],
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

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}

const METRIC_NAMESPACE = 'crystal-forge'
/** What JSON lets stand although it steers terminals (DEL, the C1 controls) or ends lines for some readers. */
const STEERING = /[\u007f-\u009f\u2028\u2029]/g
