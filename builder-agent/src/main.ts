import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { awsClients, bucket, queue } from '@crystal-forge/aws'
import { type BuilderHelloAnswer, type JobKind, parsePublicKey } from '@crystal-forge/protocol'
import { pino } from 'pino'
import { cacheBucket } from './cache-bucket.ts'
import { type BuilderConfig, readConfig } from './config.ts'
import { controlPlane } from './control-plane.ts'
import { doJob } from './do-job.ts'
import { HELP } from './help.ts'
import { hintQueue } from './hint-queue.ts'
import type { Log } from './log.ts'
import { examineMachine } from './machine.ts'
import { pruneRoots } from './prune-roots.ts'
import { openSession } from './session.ts'
import { runWorkLoop } from './work-loop.ts'

/** Exit codes: 0 ended as asked, 1 failed, 2 the command line or the configuration is wrong. */
async function main(argv: readonly string[]): Promise<number> {
  const [command = '--help', ...rest] = argv
  if (rest.length > 0) return complain(`unexpected argument ${JSON.stringify(rest[0])}\nTry --help.`)
  switch (command) {
    case '--help':
    case '-h':
      return say(HELP)
    case '--version':
      return say(`crystal-forge builder-agent ${VERSION}\n`)
    case '--check-config':
    case 'run':
      return configured(command)
    default:
      return complain(`unknown command ${JSON.stringify(command)}\nTry --help.`)
  }
}

async function configured(command: 'run' | '--check-config'): Promise<number> {
  const path = process.env['CRYSTAL_FORGE_CONFIG'] ?? DEFAULT_CONFIG
  const text = await readFile(path, 'utf8').catch(() => undefined)
  if (text === undefined && process.env['CRYSTAL_FORGE_CONFIG'] !== undefined)
    return complain(`CRYSTAL_FORGE_CONFIG: ${path} cannot be read`)
  const read = readConfig(process.env, text)
  if (!read.ok) return complain(read.errors.join('\n'))
  if (command === '--check-config') return say('the configuration is valid\n')
  const log = pino({ name: 'builder-agent' })
  for (const warning of read.warnings) log.warn(warning)
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort('stopping'))
  return run(read.config, stop.signal, log)
}

async function run(config: BuilderConfig, stop: AbortSignal, log: Log): Promise<number> {
  await mkdir(config.state_directory, { recursive: true })
  const { machine, scanner } = await examineMachine(config, { path: process.env['PATH'] ?? '', signal: stop })
  log.info(
    { nix: machine.nixVersion, sandbox: machine.sandbox, isolation: machine.isolation, scanner },
    'builder starts',
  )
  // Calls outlive the wish to stop: a job in hand is reported before the program ends.
  const plane = controlPlane({
    serverUrl: config.server_url,
    authority: config.authority,
    seed: machine.seed,
    signal: new AbortController().signal,
  })
  const session = await openSession(machine, scanner, { controlPlane: plane, signal: stop, log })
  if (session === null) return 0
  const jobPublicKey = parsePublicKey(config.job_public_key)
  if (jobPublicKey === null) return complain('builder.job_public_key: expected the base64 of 32 bytes')
  const clients = awsClients({
    region: session.cache.region,
    endpoint: { sqs: config.aws_endpoint, s3: config.aws_endpoint },
  })
  const store = cacheBucket(bucket(clients.s3, session.cache.bucket), session.cache.prefix)
  const runner = { machine, controlPlane: plane, bucket: store, jobPublicKey, stop, log }
  await pruneRoots(join(config.state_directory, 'gc-roots'))
  log.info({ builder: session.name }, 'builder takes jobs')
  await Promise.all(
    KINDS.map((kind) =>
      runWorkLoop({
        kind,
        lanes: lanesOf(kind, config),
        queue: hintQueue(queue(clients.sqs, queueOf(session, kind)), session.lease_s),
        controlPlane: plane,
        session,
        stop,
        log,
        work: (claimed, hint) => doJob(runner, claimed, hint),
      }),
    ),
  )
  clients.sqs.destroy()
  clients.s3.destroy()
  log.info('builder ended')
  return 0
}

function lanesOf(kind: JobKind, config: BuilderConfig): number {
  switch (kind) {
    case 'resolve':
    // One evaluation of a commit already uses as many processes as are allowed.
    case 'evaluate':
    // The cache of the scanner is locked, so that scans would queue behind each other.
    case 'scan':
      return 1
    case 'build':
      return config.build.max_concurrent_derivations
  }
}

function queueOf(session: BuilderHelloAnswer, kind: JobKind): string {
  return session.queues[kind]
}

function say(text: string): number {
  process.stdout.write(text)
  return 0
}

function complain(text: string): number {
  process.stderr.write(`${text}\n`)
  return 2
}

const KINDS: readonly JobKind[] = ['resolve', 'evaluate', 'build', 'scan']
const DEFAULT_CONFIG = '/var/lib/crystal-forge-builder/config.toml'
const VERSION = '0.3.0'

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code
  },
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`)
    process.exitCode = 1
  },
)
