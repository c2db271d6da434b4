import { isDrvPath, parseStorePath, type StorePath } from '@crystal-forge/protocol'
import * as z from 'zod'
import { type FlakeReference, flakeUrl, type RepositoryPolicy } from './flake-reference.ts'
import { type NixStore, storeArguments } from './nix-environment.ts'
import { nixErrorMessage, tailOf } from './nix-error.ts'
import { type Command, type CommandOutcome, describeOutcome, runCommand } from './run-command.ts'
import { compareText } from './text-order.ts'

export type Evaluator = {
  /** From `evaluationEnvironment`. */
  readonly env: Readonly<Record<string, string>>
  readonly store: NixStore
  readonly policy: RepositoryPolicy
  /** For one configuration. */
  readonly timeoutMs: number
  readonly signal?: AbortSignal
  /** Runs the program; `runInScope` puts it under limits. */
  readonly run?: (command: Command) => Promise<CommandOutcome>
}

export type EvaluationError = {
  readonly kind: 'error'
  /** `infra`: fetching or the machine failed, it may pass by itself. `eval`: the flake says so, a verdict. */
  readonly class: 'eval' | 'timeout' | 'infra' | 'cancelled'
  readonly message: string
  /** The end of what Nix wrote, at most 8 KiB. */
  readonly trace: string
}

export type Evaluation = {
  readonly kind: 'ok'
  readonly drvPath: StorePath
  readonly outPath: StorePath
  /** `x86_64-linux`; null when the toplevel does not say. */
  readonly system: string | null
  /** Whether the agent is enabled in this configuration; options that do not exist count as no. */
  readonly agentEnabled: boolean
  readonly stig: Extracted
  /** One entry for each extra that was asked for. */
  readonly extras: Readonly<Record<string, Extracted>>
}

/** A value inside a configuration. `json` is the text of `builtins.toJSON`, byte for byte; `failed` when it throws by itself. */
export type Extracted =
  | { readonly kind: 'value'; readonly json: string }
  | { readonly kind: 'absent' }
  | { readonly kind: 'failed' }

export type ConfigurationOutcome = Evaluation | EvaluationError

/** What else to read: a name of the caller's choice and the path of attributes, for example `['config', 'networking', 'hostName']`. */
export type Extras = Readonly<Record<string, readonly string[]>>

/** The names of `nixosConfigurations` of a locked flake, sorted. A flake without any is an `eval` error. */
export async function configurationNames(
  evaluator: Evaluator,
  flake: FlakeReference,
): Promise<{ readonly kind: 'names'; readonly names: readonly string[] } | EvaluationError> {
  const outcome = await nixEval(evaluator, flake, {
    attribute: 'nixosConfigurations',
    apply: 'builtins.attrNames',
  })
  if (outcome.kind === 'error') return outcome
  const names = parseJson(outcome.json, z.array(z.string().max(512)).max(CONFIGURATIONS_MAX))
  return names === null ? unreadable(outcome.json) : { kind: 'names', names: names.toSorted(compareText) }
}

/** Evaluates one configuration: derivation, output, agent, STIG report and extras in one run of Nix. The `.drv` files are then in the store. */
export async function evaluateConfiguration(
  evaluator: Evaluator,
  flake: FlakeReference,
  wanted: { readonly name: string; readonly extras: Extras },
): Promise<ConfigurationOutcome> {
  if (!CONFIGURATION_NAME.test(wanted.name)) {
    return verdict(
      `the name ${JSON.stringify(wanted.name.slice(0, 100))} cannot be used: letters, digits and "_.-" are allowed, up to 128`,
    )
  }
  const outcome = await nixEval(evaluator, flake, {
    attribute: `nixosConfigurations."${wanted.name}"`,
    apply: extraction({ stig: STIG_REPORT, ...prefixed(wanted.extras) }),
  })
  if (outcome.kind === 'error') return outcome
  return parseEvaluation(outcome.json, Object.keys(wanted.extras))
}

export type EvaluateAll = {
  readonly names: readonly string[]
  readonly extras: Extras
  /** Runs of Nix at a time; each takes a processor and, for a real system, about a GiB. */
  readonly concurrency: number
  readonly onProgress?: (progress: EvaluationProgress) => void
}

export type EvaluationProgress = {
  readonly name: string
  readonly outcome: ConfigurationOutcome
  readonly durationMs: number
  readonly done: number
  readonly total: number
}

/** Evaluates several configurations of one flake, each by itself: one that fails does not touch the others. */
export async function evaluateAll(
  evaluator: Evaluator,
  flake: FlakeReference,
  all: EvaluateAll,
): Promise<ReadonlyMap<string, ConfigurationOutcome>> {
  const outcomes = new Map<string, ConfigurationOutcome>()
  const waiting = [...all.names]
  const worker = async (): Promise<void> => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
      const start = performance.now()
      const outcome = await evaluateConfiguration(evaluator, flake, { name, extras: all.extras })
      outcomes.set(name, outcome)
      const durationMs = Math.round(performance.now() - start)
      all.onProgress?.({ name, outcome, durationMs, done: outcomes.size, total: all.names.length })
    }
  }
  await Promise.all(Array.from({ length: Math.max(1, Math.min(all.concurrency, all.names.length)) }, worker))
  return outcomes
}

/** Reads what the extraction expression prints; pure. */
export function parseEvaluation(json: string, extras: readonly string[]): ConfigurationOutcome {
  const answer = parseJson(json, answerShape)
  if (answer === null) return unreadable(json)
  const drvPath = parseStorePath(answer.derivation)
  const outPath = parseStorePath(answer.output)
  if (drvPath === null || outPath === null || !isDrvPath(drvPath)) return unreadable(json)
  const read = (key: string): Extracted => {
    const value = answer.values[key]
    if (value === undefined || value.kind === 'absent') return { kind: 'absent' }
    return value.kind === 'failed' ? { kind: 'failed' } : { kind: 'value', json: value.json }
  }
  return {
    kind: 'ok',
    drvPath,
    outPath,
    system: answer.system,
    agentEnabled: answer.agent,
    stig: read('stig'),
    extras: Object.fromEntries(extras.map((name) => [name, read(`extra:${name}`)])),
  }
}

async function nixEval(
  evaluator: Evaluator,
  flake: FlakeReference,
  what: { readonly attribute: string; readonly apply: string },
): Promise<{ readonly kind: 'json'; readonly json: string } | EvaluationError> {
  const run = evaluator.run ?? runCommand
  const outcome = await run({
    program: 'nix',
    args: [
      'eval',
      ...storeArguments(evaluator.store),
      '--json',
      '--no-use-registries',
      '--no-update-lock-file',
      '--no-write-lock-file',
      '--apply',
      what.apply,
      '--',
      `${flakeUrl(flake, evaluator.policy)}#${what.attribute}`,
    ],
    env: evaluator.env,
    timeoutMs: evaluator.timeoutMs,
    ...(evaluator.signal === undefined ? {} : { signal: evaluator.signal }),
  })
  return outcome.kind === 'exited' && outcome.code === 0
    ? { kind: 'json', json: outcome.stdout }
    : evaluationError(outcome)
}

function evaluationError(outcome: CommandOutcome): EvaluationError {
  const trace = tailOf(outcome.stderr, TRACE_BYTES_MAX)
  if (outcome.kind === 'timeout' || outcome.kind === 'cancelled') {
    return { kind: 'error', class: outcome.kind, message: describeOutcome('nix eval', outcome), trace }
  }
  const message = nixErrorMessage(outcome.stderr)
  const infra = outcome.kind !== 'exited' || message === null || INFRA.test(message)
  return {
    kind: 'error',
    class: infra ? 'infra' : 'eval',
    message: message ?? describeOutcome('nix eval', outcome),
    trace,
  }
}

/**
 * A function from a configuration to what is asked of it (a set with an outPath would be printed as that path only). Nothing of the caller is Nix code: the paths of attributes travel as JSON
 * inside one escaped string.
 */
function extraction(paths: Extras): string {
  return `
configuration: let
  paths = builtins.fromJSON ${nixString(JSON.stringify(paths))};
  inherit (configuration) config;
  toplevel = config.system.build.toplevel;
  plain = builtins.unsafeDiscardStringContext;
  find = path: value:
    if path == [ ] then { found = true; inherit value; }
    else if builtins.isAttrs value && builtins.hasAttr (builtins.head path) value
      then find (builtins.tail path) (builtins.getAttr (builtins.head path) value)
    else { found = false; };
  extract = path: let
    text = builtins.tryEval (let it = find path configuration; in if it.found then builtins.toJSON it.value else null);
  in
    if !text.success then { kind = "failed"; }
    else if text.value == null then { kind = "absent"; }
    else { kind = "value"; json = plain text.value; };
in {
  derivation = plain toplevel.drvPath;
  output = plain toplevel.outPath;
  system = toplevel.system or null;
  agent = (config.services.crystal-forge.enable or false) == true && (config.services.crystal-forge.client.enable or false) == true;
  values = builtins.mapAttrs (_: extract) paths;
}`
}

/** A string literal of the Nix language that means exactly this text. */
function nixString(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&').replaceAll('${', '\\${')}"`
}

function prefixed(extras: Extras): Extras {
  return Object.fromEntries(Object.entries(extras).map(([name, path]) => [`extra:${name}`, path]))
}

function parseJson<T>(json: string, shape: z.ZodType<T>): T | null {
  try {
    const result = shape.safeParse(JSON.parse(json))
    return result.success ? result.data : null
  } catch {
    return null
  }
}

function verdict(message: string): EvaluationError {
  return { kind: 'error', class: 'eval', message, trace: '' }
}

function unreadable(json: string): EvaluationError {
  const message =
    'nix eval answered something that is not an evaluation; config.system.build.toplevel must be a derivation in /nix/store'
  return { kind: 'error', class: 'eval', message, trace: tailOf(json, TRACE_BYTES_MAX) }
}

const TRACE_BYTES_MAX = 8 * 1024
const CONFIGURATIONS_MAX = 100_000
const CONFIGURATION_NAME = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/
const STIG_REPORT: readonly string[] = ['config', 'crystal-forge', 'stig', 'report']
/** Words of Nix, git and curl for what is not the flake's fault. A text that is unknown here counts as a verdict. */
const INFRA =
  /failed with exit code 128|Failed to fetch git repository|unable to download|Could not resolve host|cannot open connection|unexpected EOF|database is (locked|busy)|No space left on device|Cannot allocate memory|out of memory|Too many open files|getting Git object|Cannot find Git revision|daemon/i
const extracted = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('value'), json: z.string() }),
  z.object({ kind: z.literal('absent') }),
  z.object({ kind: z.literal('failed') }),
])
const answerShape = z.object({
  derivation: z.string(),
  output: z.string(),
  system: z.string().nullable(),
  agent: z.boolean(),
  values: z.record(z.string(), extracted),
})
