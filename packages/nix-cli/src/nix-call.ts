import { type NixStore, storeArguments } from './nix-environment.ts'
import { nixErrorMessage } from './nix-error.ts'
import { type Command, type CommandOutcome, describeOutcome, runCommand } from './run-command.ts'

/** What a single call of a Nix program needs. */
export type NixCall = {
  /** From `buildEnvironment`. */
  readonly env: Readonly<Record<string, string>>
  readonly store: NixStore
  readonly timeoutMs: number
  readonly signal?: AbortSignal
}

/** Why a program could not do it, for a person. */
export type NixFailure = {
  readonly kind: 'failed'
  readonly class: 'timeout' | 'cancelled' | 'infra'
  readonly message: string
}

/** `nix-store ARGUMENTS`, in the store of the call. */
export function nixStoreCommand(call: NixCall, args: readonly string[]): Command {
  return nixCommand(call, 'nix-store', [...storeArguments(call.store), ...args])
}

/** `nix SUBCOMMAND ARGUMENTS`, in the store of the call. */
export function nixSubcommand(
  call: NixCall,
  subcommand: readonly string[],
  args: readonly string[],
): Command {
  return nixCommand(call, 'nix', [...subcommand, ...storeArguments(call.store), ...args])
}

/** Runs a program whose success is exit code 0 and an answer on stdout. */
export async function answerOf(
  command: Command,
): Promise<{ readonly kind: 'answer'; readonly stdout: string } | NixFailure> {
  const outcome = await runCommand(command)
  return outcome.kind === 'exited' && outcome.code === 0
    ? { kind: 'answer', stdout: outcome.stdout }
    : failureOf(command.program, outcome)
}

export function failureOf(program: string, outcome: CommandOutcome): NixFailure {
  const cause = outcome.kind === 'timeout' || outcome.kind === 'cancelled' ? outcome.kind : 'infra'
  const said = outcome.kind === 'exited' ? nixErrorMessage(outcome.stderr) : null
  const message = said === null ? describeOutcome(program, outcome) : `${program}: ${said}`
  return { kind: 'failed', class: cause, message }
}

export function infra(message: string): NixFailure {
  return { kind: 'failed', class: 'infra', message }
}

function nixCommand(call: NixCall, program: string, args: readonly string[]): Command {
  return {
    program,
    args,
    env: call.env,
    timeoutMs: call.timeoutMs,
    ...(call.signal === undefined ? {} : { signal: call.signal }),
  }
}
