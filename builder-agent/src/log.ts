import type { Logger } from 'pino'

/** Structured logging to standard output, which journald collects. Bodies and keys are never among the fields. */
export type Log = Pick<Logger, 'info' | 'warn' | 'error' | 'debug'>
