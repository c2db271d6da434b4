/**
 * The message that a person needs from what Nix wrote to stderr: the last `error:` and what belongs to it, without the trace around it.
 * Works for 2.8 (flush left) and for newer versions (indented below an empty `error:`). Null when there is no such line.
 */
export function nixErrorMessage(stderr: string): string | null {
  const lines = stderr.replace(ANSI, '').split('\n')
  const at = lines.findLastIndex((line) => /^\s*error: ?\S/.test(line))
  if (at < 0) return null
  const [first = '', ...rest] = lines.slice(at)
  const end = rest.findIndex(
    (line) => line.trim() === '' || /^\s*(\(use '--show-trace'|at \S+:\d+:|… )/.test(line),
  )
  const message = [first.replace(/^\s*error: ?/, ''), ...rest.slice(0, end < 0 ? rest.length : end)]
  return message
    .map((line) => line.trim())
    .join('\n')
    .slice(0, MESSAGE_CHARACTERS_MAX)
    .trimEnd()
}

/** The end of a text in UTF-8, at most `bytesMax` bytes, starting with a whole character. */
export function tailOf(text: string, bytesMax: number): string {
  const bytes = Buffer.from(text.replace(ANSI, ''), 'utf8')
  if (bytes.length <= bytesMax) return bytes.toString('utf8')
  return bytes
    .subarray(-bytesMax)
    .toString('utf8')
    .replace(/^\uFFFD+/, '')
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: terminal sequences begin with the escape character
const ANSI = /\u001b\[[0-9;]*[A-Za-z]/g
const MESSAGE_CHARACTERS_MAX = 4_000
