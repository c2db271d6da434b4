import type { FailureClass, JobResult } from '@crystal-forge/protocol'

/** A failed result, cut to the limits of the message; the end of a log says most. */
export function failed(kind: FailureClass, message: string, logTail?: string): JobResult['result'] {
  return {
    outcome: 'failed',
    class: kind,
    message: message.slice(0, 4000) || 'no message',
    ...(logTail === undefined || logTail === '' ? {} : { log_tail: printable(logTail).slice(-65_000) }),
  }
}

/** PostgreSQL and JSON have no NUL in text; colour codes say nothing in a stored log. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: removing them is the point
  return text.replace(/\u001b\[[0-9;]*[A-Za-z]/g, '').replaceAll('\u0000', '')
}
