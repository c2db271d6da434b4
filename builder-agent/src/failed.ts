import type { FailureClass, JobResult } from '@crystal-forge/protocol'

/** A failed result, cut to the limits of the message; the end of a log says most. */
export function failed(kind: FailureClass, message: string, logTail?: string): JobResult['result'] {
  return {
    outcome: 'failed',
    class: kind,
    message: printable(message, MESSAGE_CHARACTERS_MAX) || 'no message',
    ...logTailOf(logTail),
  }
}

/** The member `log_tail` of a result; absent when there is no log. */
export function logTailOf(log: string | undefined): { log_tail?: string } {
  const tail = printable(log ?? '', -LOG_CHARACTERS_MAX)
  return tail === '' ? {} : { log_tail: tail }
}

/**
 * Text that a message can carry: PostgreSQL and JSON have no NUL in text, colour codes say nothing in a stored log, and
 * half a character is refused by strict JSON. A negative limit keeps the end.
 */
export function printable(text: string, charactersMax: number): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: removing them is the point
  const plain = text.replace(/\u001b\[[0-9;]*[A-Za-z]/g, '').replaceAll('\u0000', '')
  return wellFormed(charactersMax < 0 ? plain.slice(charactersMax) : plain.slice(0, charactersMax))
}

/** The same in one line, for notes and names that somebody else chose. */
export function oneLine(text: string, charactersMax: number): string {
  return wellFormed(
    printable(text, text.length)
      .replace(/\p{Cc}+/gu, ' ')
      .slice(0, charactersMax),
  )
}

/** Cutting text can leave half of a character that is stored in two. */
function wellFormed(text: string): string {
  return text.replace(/\p{Cs}/gu, '\uFFFD')
}

const MESSAGE_CHARACTERS_MAX = 4000
const LOG_CHARACTERS_MAX = 65_000
