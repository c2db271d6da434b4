import { parseArgs } from 'node:util'

export type CommandName = 'run' | 'enroll' | 'rotate-key' | 'observe' | 'check-config' | 'help' | 'version'
export type CommandLine = {
  readonly command: CommandName
  readonly json: boolean
  /** `observe --controls`. */
  readonly controls: boolean
  readonly configFile?: string | undefined
  readonly tokenFile?: string | undefined
  readonly configuration?: string | undefined
  /** Options that stand for a key of the configuration and win over it, as environment variables. */
  readonly environment: Readonly<Record<string, string>>
}

/** Exit codes; documented in `--help`. */
export const EXIT = { ok: 0, failed: 1, usage: 2, refused: 3 } as const

/** @throws Error with one sentence for a person when the arguments do not fit. */
export function parseCommandLine(argv: readonly string[]): CommandLine {
  const { values, positionals } = parseArgs({ args: [...argv], options: OPTIONS, allowPositionals: true })
  const [word = 'run', ...rest] = positionals
  if (rest.length > 0)
    throw new Error(`unexpected argument ${JSON.stringify(rest[0])}; see host-agent --help`)
  const command = commandOf(word, values)
  if (command === 'enroll' && values['token-file'] === undefined) {
    throw new Error('enroll needs --token-file FILE ("-" reads standard input); a token is never an argument')
  }
  const environment: Record<string, string> = {}
  for (const [option, key] of STANDS_FOR) {
    const value = values[option]
    if (typeof value === 'string') environment[`CRYSTAL_FORGE__CLIENT__${key}`] = value
  }
  return {
    command,
    json: values.json ?? false,
    controls: values.controls ?? false,
    configFile: values.config,
    tokenFile: values['token-file'],
    configuration: values.configuration,
    environment,
  }
}

function commandOf(
  word: string,
  values: { help?: boolean; version?: boolean; 'check-config'?: boolean },
): CommandName {
  if (values.help === true) return 'help'
  if (values.version === true) return 'version'
  if (values['check-config'] === true) return 'check-config'
  if (word === 'run' || word === 'enroll' || word === 'rotate-key' || word === 'observe') return word
  throw new Error(
    `there is no command ${JSON.stringify(word)}; commands are run, enroll, rotate-key and observe`,
  )
}

const OPTIONS = {
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean' },
  'check-config': { type: 'boolean' },
  json: { type: 'boolean' },
  once: { type: 'boolean' },
  controls: { type: 'boolean' },
  config: { type: 'string' },
  'token-file': { type: 'string' },
  configuration: { type: 'string' },
  'server-url': { type: 'string' },
  'private-key': { type: 'string' },
  root: { type: 'string' },
} as const

const STANDS_FOR = [
  ['server-url', 'SERVER_URL'],
  ['private-key', 'PRIVATE_KEY'],
  ['root', 'ROOT'],
] as const

export const USAGE = `host-agent: tells the control plane what this NixOS host is and runs.

  host-agent [run]                    report until stopped; log lines (JSON) on standard error
  host-agent enroll --token-file FILE register this host with a one-time token ("-" reads standard input)
             [--configuration NAME]   the configuration of the flake that it follows; its host name by default
  host-agent rotate-key               replace the key of this host
  host-agent observe --once           print what would be reported, send nothing
  host-agent observe --controls       print the facts that controls are judged by, send nothing
  host-agent --check-config           read the configuration and say everything that is wrong with it

  --config FILE        TOML or JSON; default CRYSTAL_FORGE_CONFIG, then /var/lib/crystal-forge-agent/config.toml
  --server-url URL     instead of client.server_url
  --private-key FILE   instead of client.private_key
  --root DIRECTORY     instead of client.root: observe a prepared tree in place of /
  --json               results as one line of JSON
  --version, --help

Every key of the configuration can be set by CRYSTAL_FORGE__CLIENT__KEY.

Exit codes: 0 done, or stopped by a signal; 1 something failed, trying again may help; 2 wrong arguments or configuration;
3 the control plane refused.
`
