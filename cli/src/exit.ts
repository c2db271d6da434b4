/** Exit codes, as `cf --help` and docs/cli.md list them. */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  notAuthorised: 4,
  unreachable: 5,
  drifted: 10,
} as const
export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

/** Ends the command with one line on standard error: what, value, remedy. */
export class CommandError extends Error {
  readonly exitCode: ExitCode

  constructor(exitCode: ExitCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'CommandError'
    this.exitCode = exitCode
  }
}
