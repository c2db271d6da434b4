import { parseArgs as parseStrictly, stripVTControlCharacters } from 'node:util'
import { type ArgsDef, type CommandDef, parseArgs, renderUsage } from 'citty'
import { CLI_VERSION } from './cli-version.ts'
import { rootCommand } from './commands/root.ts'
import type { Console } from './console.ts'
import { CommandError, EXIT, type ExitCode } from './exit.ts'
import { safeText } from './table.ts'

/** Runs a command line and gives the exit code. Nothing is thrown, and every failure is a line on standard error. */
export async function run(argv: readonly string[], console: Console): Promise<ExitCode> {
  const root = rootCommand(console)
  const asksHelp = argv[0] === 'help' || argv.some((word) => word === '--help' || word === '-h')
  if (argv.length === 1 && (argv[0] === '--version' || argv[0] === '-V')) {
    console.out(CLI_VERSION)
    return EXIT.ok
  }
  const words = argv[0] === 'help' ? argv.slice(1) : argv
  const found = await findCommand(root, words)
  if (asksHelp) {
    console.out(await usageOf(found, root))
    return EXIT.ok
  }
  try {
    if (found.command.run === undefined) throw noCommand(found)
    const definition: ArgsDef = await resolved(found.command.args ?? {})
    refuseUnknown(found.rest, definition)
    const args = parseArgs(found.rest, definition)
    const code: unknown = await found.command.run({ rawArgs: found.rest, args, cmd: found.command })
    return isExitCode(code) ? code : EXIT.ok
  } catch (error) {
    return report(error, found.path, console)
  }
}

type Command = CommandDef
type Found = {
  readonly command: Command
  /** `['cf', 'token', 'create']`. */
  readonly path: readonly string[]
  readonly rest: string[]
}

async function findCommand(root: Command, words: readonly string[]): Promise<Found> {
  let found: Found = { command: root, path: ['cf'], rest: [...words] }
  for (;;) {
    const subCommands: Readonly<Record<string, unknown>> = await resolved(found.command.subCommands ?? {})
    const [name] = found.rest
    const next = name === undefined || !Object.hasOwn(subCommands, name) ? undefined : subCommands[name]
    if (name === undefined || next === undefined || !isCommand(next)) return found
    found = { command: next, path: [...found.path, name], rest: found.rest.slice(1) }
  }
}

/** citty lets unknown flags pass; a mistyped `--dry-rum` must not apply anything. */
function refuseUnknown(rest: string[], definition: ArgsDef): void {
  const named = Object.entries(definition).filter(([, arg]) => arg.type !== 'positional')
  const places = Object.values(definition).filter((arg) => arg.type === 'positional')
  const options = Object.fromEntries(
    named.map(([name, arg]) => {
      const short = 'alias' in arg && typeof arg.alias === 'string' ? { short: arg.alias } : {}
      return [name, { type: arg.type === 'boolean' ? ('boolean' as const) : ('string' as const), ...short }]
    }),
  )
  try {
    const { positionals, tokens } = parseStrictly({
      args: rest,
      options,
      allowPositionals: true,
      tokens: true,
    })
    const extra = positionals[places.length]
    if (extra !== undefined)
      throw new CommandError(
        EXIT.usage,
        `unexpected argument ${JSON.stringify(extra)}; --help shows what there is`,
      )
    const seen = new Set<string>()
    for (const token of tokens) {
      if (token.kind !== 'option') continue
      if (seen.has(token.name))
        throw new CommandError(EXIT.usage, `--${token.name} stands twice; give it once`)
      seen.add(token.name)
    }
  } catch (cause) {
    if (cause instanceof CommandError) throw cause
    const [message = ''] = cause instanceof Error ? cause.message.split('. To specify') : ['']
    throw new CommandError(EXIT.usage, `${message}; --help shows what there is`, { cause })
  }
}

async function usageOf({ command, path }: Found, root: Command): Promise<string> {
  const parent = path.length > 1 ? { meta: { name: path.slice(0, -1).join(' ') } } : undefined
  const rendered = stripVTControlCharacters(await renderUsage(command, parent))
  const usage = rendered.replace(/ +$/gm, '').trimEnd()
  return command === root ? `${usage}\n\n${FOOTER}` : usage
}

function noCommand({ path, rest }: Found): CommandError {
  const [word] = rest
  const what = word === undefined ? 'no command' : `unknown command ${JSON.stringify(word)}`
  return new CommandError(EXIT.usage, `${what}; ${path.join(' ')} --help shows what there is`)
}

function report(error: unknown, path: readonly string[], console: Console): ExitCode {
  if (error instanceof CommandError) {
    console.err(safeText(`cf: ${error.message}`))
    return error.exitCode
  }
  if (error instanceof Error && error.name === 'CLIError') {
    const words = stripVTControlCharacters(error.message)
    console.err(safeText(`cf: ${words}; ${path.join(' ')} --help shows what there is`))
    return EXIT.usage
  }
  console.err(safeText(`cf: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`))
  return EXIT.failed
}

async function resolved<Value>(
  value: Value | Promise<Value> | (() => Value | Promise<Value>),
): Promise<Value> {
  return isFunction(value) ? await value() : await value
}

function isFunction<Value>(
  value: Value | Promise<Value> | (() => Value | Promise<Value>),
): value is () => Value | Promise<Value> {
  return typeof value === 'function'
}

function isCommand(value: unknown): value is Command {
  return typeof value === 'object' && value !== null
}

function isExitCode(value: unknown): value is ExitCode {
  return Object.values(EXIT).some((code) => code === value)
}

const FOOTER = `CONNECTION

  --server URL or CF_SERVER says where the control plane is; --token-file FILE, CF_TOKEN_FILE or CF_TOKEN says who
  asks. ~/.config/crystal-forge/cli.toml may hold server and token_file. A token is never an argument.

EXIT CODES

  0   it was done
  1   it was refused or it failed
  2   the command line or a file is wrong
  3   what was named does not exist
  4   there is no token, or it may not do this
  5   the server could not be reached
  10  cf drift --exit-code, cf watch --exit-code: not every host is up to date`
