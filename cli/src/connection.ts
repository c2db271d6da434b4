import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parse } from 'smol-toml'
import * as z from 'zod'
import type { Console } from './console.ts'
import { CommandError, EXIT } from './exit.ts'
import { hasCode, readSecretFile, reason } from './secret-file.ts'

/** Where the control plane is and who asks it. */
export type Connection = {
  readonly server: URL
  /** Null for the health route without a token. */
  readonly token: string | null
}
export type ConnectionFlags = {
  readonly server?: string | undefined
  readonly 'token-file'?: string | undefined
}

/**
 * Flags come before the environment (`CF_SERVER`, `CF_TOKEN_FILE`, `CF_TOKEN`), the environment before
 * `~/.config/crystal-forge/cli.toml` (`server`, `token_file`). A token is never taken from the command line, where every
 * process of the machine could read it.
 */
export async function findConnection(
  console: Console,
  flags: ConnectionFlags,
  options: { readonly tokenOptional?: boolean } = {},
): Promise<Connection> {
  const settings = await readSettings(console)
  const server = serverUrl(flags.server ?? set(console.env['CF_SERVER']) ?? settings.server, console)
  const file = flags['token-file'] ?? set(console.env['CF_TOKEN_FILE'])
  const direct = set(console.env['CF_TOKEN'])
  const token =
    file !== undefined
      ? await readSecretFile(file, 'the token file')
      : (direct ??
        (settings.token_file === undefined
          ? null
          : await readSecretFile(settings.token_file, 'the token file')))
  if (token === null && !options.tokenOptional)
    throw new CommandError(
      EXIT.notAuthorised,
      'no token: name a file that holds one with --token-file or CF_TOKEN_FILE (an admin makes tokens with cf token create)',
    )
  if (token !== null && !/^cf_[A-Za-z0-9_-]{43}$/.test(token))
    throw new CommandError(
      EXIT.notAuthorised,
      'the token is malformed: expected cf_ and 43 characters, and nothing else',
    )
  return { server, token }
}

function serverUrl(text: string | undefined, { env }: Console): URL {
  if (text === undefined)
    throw new CommandError(
      EXIT.usage,
      'no server: name it with --server URL or CF_SERVER (npm start prints it)',
    )
  const url = URL.canParse(text) ? new URL(text) : null
  if (url === null || !['http:', 'https:'].includes(url.protocol) || url.username !== '' || url.search !== '')
    throw new CommandError(EXIT.usage, `the server is ${JSON.stringify(text)}: expected https://host[:port]`)
  const loopback = ['127.0.0.1', '[::1]', 'localhost'].includes(url.hostname)
  if (url.protocol === 'http:' && !loopback && set(env['CF_ALLOW_HTTP']) === undefined)
    throw new CommandError(
      EXIT.usage,
      `the server is ${text}: http:// would show the token to the network; write https:// (CF_ALLOW_HTTP=1 allows it)`,
    )
  return url
}

const settingsFile = z.strictObject({ server: z.string().optional(), token_file: z.string().optional() })

async function readSettings(console: Console): Promise<z.output<typeof settingsFile>> {
  const directory = set(console.env['XDG_CONFIG_HOME']) ?? join(console.home, '.config')
  const path = join(directory, 'crystal-forge', 'cli.toml')
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (cause) {
    if (hasCode(cause, 'ENOENT') || hasCode(cause, 'ENOTDIR')) return {}
    throw new CommandError(EXIT.usage, `${path} could not be read: ${reason(cause)}`, { cause })
  }
  try {
    return settingsFile.parse(parse(text))
  } catch (cause) {
    const [line] = reason(cause).split('\n')
    throw new CommandError(EXIT.usage, `${path}: ${line}; known are server and token_file`, { cause })
  }
}

/** An empty variable counts as none. */
function set(value: string | undefined): string | undefined {
  return value === '' ? undefined : value
}
