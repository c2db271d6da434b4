import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { jsonLog, type Log } from '@crystal-forge/functions/log.ts'
import { type Flags, readConfig, type ServerConfig } from './config.ts'
import { HELP } from './help.ts'
import type { Started } from './start.ts'

/** The control plane in one process. Exit codes: 0 stopped as asked, 1 failed, 2 the command line or the configuration is wrong. */
async function main(argv: readonly string[]): Promise<number> {
  const asked = readArguments(argv)
  if (typeof asked === 'string') return complain(asked)
  if (asked.help) return say(HELP)
  if (asked.version) return say(`crystal-forge server ${VERSION}\n`)
  const file = await readConfigFile(process.env['CRYSTAL_FORGE_CONFIG'])
  if ('error' in file) return complain(file.error)
  const read = readConfig(process.env, file.text, asked.flags)
  if (!read.ok) return complain(read.errors.join('\n'))
  const log = quiet(jsonLog('server'), asked.verbose)
  for (const warning of read.warnings) log('warn', warning)
  if (asked.checkConfig) return say('the configuration is valid\n')
  return serve(read.config, log).catch((error: unknown) => {
    log('debug', 'the start failed', { error })
    return fail(error)
  })
}

/** Without the variable, the original's file is read where it is there. */
async function readConfigFile(
  path: string | undefined,
): Promise<{ text: string | undefined } | { error: string }> {
  try {
    return { text: await readFile(path ?? ORIGINAL_CONFIG, 'utf8') }
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : error
    if (path === undefined && (code === 'ENOENT' || code === 'ENOTDIR')) return { text: undefined }
    return { error: `CRYSTAL_FORGE_CONFIG: ${path ?? ORIGINAL_CONFIG} cannot be read (${code})` }
  }
}

async function serve(config: ServerConfig, log: Log): Promise<number> {
  const stop = new AbortController()
  const asked = new Promise<void>((resolve) => {
    stop.signal.addEventListener('abort', () => resolve(), { once: true })
  })
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort())
  // Loaded now only: help and the check of a configuration need none of it.
  const { startServer } = await import('./start.ts')
  const server = await startServer(config, log, fileURLToPath(MIGRATIONS))
  say(welcome(server.started, config))
  log('info', 'ready', { url: server.started.url, dataDir: config.dataDir })
  await asked
  log('info', 'stopping')
  await server.stop()
  return 0
}

type Asked = {
  readonly help: boolean
  readonly version: boolean
  readonly checkConfig: boolean
  readonly verbose: boolean
  readonly flags: Flags
}

function readArguments(argv: readonly string[]): Asked | string {
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: {
        help: { type: 'boolean', short: 'h', default: false },
        version: { type: 'boolean', default: false },
        'check-config': { type: 'boolean', default: false },
        verbose: { type: 'boolean', short: 'v', default: false },
        host: { type: 'string' },
        port: { type: 'string' },
        'data-dir': { type: 'string' },
      },
    })
    const port = values.port
    if (port !== undefined && !(/^[0-9]{1,5}$/.test(port) && Number(port) < 65_536))
      return `--port is ${JSON.stringify(port)}; expected a number from 0 to 65535`
    return {
      help: values.help,
      version: values.version,
      checkConfig: values['check-config'],
      verbose: values.verbose,
      flags: {
        ...(values.host === undefined ? {} : { host: values.host }),
        ...(port === undefined ? {} : { port: Number(port) }),
        ...(values['data-dir'] === undefined ? {} : { dataDir: values['data-dir'] }),
      },
    }
  } catch (error) {
    return `${error instanceof Error ? error.message : String(error)}\nTry --help.`
  }
}

function welcome(started: Started, config: ServerConfig): string {
  return `
Crystal Forge is running.

  API              ${started.url}        health: ${started.url}/status
  data directory   ${config.dataDir}
  admin token      ${started.adminTokenFile}
  binary cache     ${started.cacheUrl}
  cache key        ${started.cachePublicKey}
  job key          ${started.jobPublicKey}        (builder.job_public_key)
  export key       ${started.exportPublicKey}        (cf verify-export --key)
  database         ${started.databaseUrl}${config.database.kind === 'embedded' ? `        password: ${join(config.dataDir, SUPERUSER_PASSWORD)}` : ''}

Look around:

  export CF_SERVER=${started.url} CF_TOKEN_FILE=${started.adminTokenFile}
  npm run -s cf -- systems
  npm run -s cf -- apply -f fleet.toml --dry-run

Stop with Ctrl-C; the data stays.

`
}

function quiet(log: Log, verbose: boolean): Log {
  return (level, message, fields) => {
    if (verbose || level !== 'debug') log(level, message, fields)
  }
}

function say(text: string): number {
  process.stdout.write(text)
  return 0
}

function complain(text: string): number {
  process.stderr.write(`${text}\n`)
  return 2
}

function fail(error: unknown): number {
  const sentences: string[] = []
  for (let at = error; at !== undefined; at = at instanceof Error ? at.cause : undefined)
    sentences.push(at instanceof Error ? at.message : String(at))
  process.stderr.write(`crystal-forge: ${[...new Set(sentences)].join(': ')}\n`)
  return 1
}

const SUPERUSER_PASSWORD = 'secrets/database-superuser-password'
const ORIGINAL_CONFIG = '/var/lib/crystal_forge/config.toml'
const VERSION = '0.3.0'
const MIGRATIONS = new URL('../../migrations', import.meta.url)

main(process.argv.slice(2))
  .catch(fail)
  .then(
    (code) => {
      process.exitCode = code
    },
    () => {
      process.exitCode = 1
    },
  )
