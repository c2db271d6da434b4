/** What a command can see and say. `main.ts` makes one of the process, tests make others. */
export type Console = {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly home: string
  readonly hostname: string
  readonly now: () => Date
  readonly fetch: typeof fetch
  /** Writes a line to standard output or standard error. */
  out(line: string): void
  err(line: string): void
  /** Ends after so many milliseconds. */
  sleep(ms: number): Promise<void>
  /** Asks a person and gives the answer, or null when nobody can be asked. */
  ask(question: string): Promise<string | null>
}
