import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type AwsClients, awsClients, bucket, queue } from '@crystal-forge/aws'
import { type JobKind, parsePublicKey, type SecretSeed } from '@crystal-forge/protocol'
import { pino } from 'pino'
import { type CacheBucket, cacheBucket } from './cache-bucket.ts'
import { type BuilderConfig, readConfig } from './config.ts'
import { checkFiles } from './config-files.ts'
import { controlPlane } from './control-plane.ts'
import { describeConfig } from './describe-config.ts'
import { diskGuard } from './disk-guard.ts'
import { doJob, type JobRunner } from './do-job.ts'
import { HELP } from './help.ts'
import { hintQueue } from './hint-queue.ts'
import type { Machine } from './job-context.ts'
import { stopLeftoverScopes } from './leftover-scopes.ts'
import type { Log } from './log.ts'
import { examineMachine } from './machine.ts'
import { pruneRoots } from './prune-roots.ts'
import { madeOnce, type RenewedSession, renewedQueue, renewedSession } from './renewed-session.ts'
import { openSession, sayHello } from './session.ts'
import { takeStateDirectory } from './state-directory.ts'
import { uploadPool } from './upload-pool.ts'
import { type HintQueue, runWorkLoop } from './work-loop.ts'

/** Exit codes: 0 ended as asked, 1 failed, 2 the command line or the configuration is wrong. */
async function main(argv: readonly string[]): Promise<number> {
  const [command = '--help', ...rest] = argv
  if (rest.length > 0) return complain([`unexpected argument ${JSON.stringify(rest[0])}`, 'Try --help.'])
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
      return complain([`unknown command ${JSON.stringify(command)}`, 'Try --help.'])
  }
}

async function configured(command: 'run' | '--check-config'): Promise<number> {
  const named = process.env['CRYSTAL_FORGE_CONFIG']
  const file = named ?? DEFAULT_CONFIG
  const text = await readFile(file, 'utf8').catch(() => undefined)
  if (text === undefined && named !== undefined)
    return complain([`CRYSTAL_FORGE_CONFIG: ${file} cannot be read`])
  const read = readConfig(process.env, text)
  if (!read.ok) return complain(read.errors)
  const path = process.env['PATH'] ?? ''
  const files = await checkFiles(read.config, path)
  if (!files.ok) return complain(files.errors)
  if (command === '--check-config') {
    const warnings = read.warnings.map((warning) => `warning: ${warning}\n`).join('')
    const from = text === undefined ? 'the environment alone' : file
    return say(`${from}:\n${describeConfig(read.config, files.seed)}${warnings}the configuration is valid\n`)
  }
  const log = pino({ name: 'builder-agent' })
  for (const warning of read.warnings) log.warn(warning)
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort('stopping'))
  const state = await takeStateDirectory(read.config.state_directory)
  try {
    const around = { path, seed: files.seed, tag: state.tag, signal: stop.signal }
    return await run(await prepare(read.config, around, log), stop.signal, log)
  } finally {
    await state.release()
  }
}

async function prepare(
  config: BuilderConfig,
  around: { path: string; seed: SecretSeed; tag: string; signal: AbortSignal },
  log: Log,
): Promise<Machine> {
  const machine = await examineMachine(config, around)
  const { nixVersion: nix, sandbox, isolation, scanner, buildUsersGroup } = machine
  log.info({ nix, sandbox, isolation, scanner, buildUsersGroup }, 'builder starts')
  if (isolation.kind === 'scope') {
    const stopped = await stopLeftoverScopes(around.tag, around.path)
    if (stopped.length > 0) log.warn({ stopped }, 'builds of an earlier life were stopped')
  }
  await pruneRoots(join(config.state_directory, 'gc-roots'))
  return machine
}

async function run(machine: Machine, stop: AbortSignal, log: Log): Promise<number> {
  const { config, seed } = machine
  // Its calls outlive the wish to stop: a job in hand is reported before the program ends.
  const plane = controlPlane({ serverUrl: config.server_url, authority: config.authority, seed })
  const first = await openSession(machine, { controlPlane: plane, signal: stop, log })
  if (first === null) return 0
  const jobPublicKey = parsePublicKey(config.job_public_key)
  if (jobPublicKey === null) return complain(['builder.job_public_key: expected the base64 of 32 bytes'])
  const session = renewedSession(first, {
    hello: () => sayHello(machine, plane),
    now: () => performance.now(),
    log,
  })
  const places = openPlaces(config, session)
  const runner: Omit<JobRunner, 'bucket'> = {
    machine,
    controlPlane: plane,
    uploads: uploadPool(config.parallel_uploads),
    jobPublicKey,
    stop,
    log,
  }
  log.info({ builder: first.name }, 'builder takes jobs')
  await workUntilStopped(runner, places)
  places.close()
  log.info('builder ended')
  return 0
}

/** Queues and cache where the control plane says that they are now. */
type Places = {
  queueOf(kind: JobKind): HintQueue
  bucket(): CacheBucket
  close(): void
}

function openPlaces(config: BuilderConfig, session: RenewedSession): Places {
  const opened: AwsClients[] = []
  const current = madeOnce(session, ({ cache, queues, lease_s }) => {
    const clients = awsClients({
      region: cache.region,
      endpoint: { sqs: config.aws_endpoint, s3: config.aws_endpoint },
    })
    // Jobs in hand go on with those that they began with, so all are closed at the end.
    opened.push(clients)
    return {
      bucket: cacheBucket(bucket(clients.s3, cache.bucket), cache.prefix),
      queueOf: (kind: JobKind) => hintQueue(queue(clients.sqs, queues[kind]), lease_s),
    }
  })
  return {
    queueOf: (kind) => renewedQueue(session, () => current().queueOf(kind)),
    bucket: () => current().bucket,
    close: () => {
      for (const clients of opened) {
        clients.sqs.destroy()
        clients.s3.destroy()
      }
    },
  }
}

async function workUntilStopped(runner: Omit<JobRunner, 'bucket'>, places: Places): Promise<void> {
  const { machine, controlPlane: plane, stop, log } = runner
  const guard = diskGuard({
    directory: machine.nix.store.kind === 'rooted' ? machine.nix.store.root : '/nix/store',
    minFreeBytes: machine.config.min_free_bytes,
    log,
  })
  await Promise.all(
    KINDS.map((kind) =>
      runWorkLoop({
        kind,
        lanes: lanesOf(kind, machine.config),
        queue: places.queueOf(kind),
        controlPlane: plane,
        stop,
        log,
        ...(kind === 'build' ? { obstacle: guard } : {}),
        work: (claimed, hint) => doJob({ ...runner, bucket: places.bucket() }, claimed, hint),
      }),
    ),
  )
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

function say(text: string): number {
  process.stdout.write(text)
  return 0
}

function complain(lines: readonly string[]): number {
  process.stderr.write(`${lines.join('\n')}\n`)
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
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
    process.exitCode = 1
  },
)
