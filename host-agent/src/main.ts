import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import process from 'node:process'
import { acceptedStateIn } from './accepted-state.ts'
import { AGENT_VERSION } from './agent-version.ts'
import { collectOverSocket } from './collect-over-socket.ts'
import { type CommandLine, EXIT, parseCommandLine, USAGE } from './command-line.ts'
import { type Config, DEFAULT_CONFIG_FILE, readConfig } from './config.ts'
import { collectInChild, factsChainIn } from './control-facts.ts'
import { type ControlPlane, controlPlaneAt } from './control-plane.ts'
import { collectFacts } from './controls/collect-facts.ts'
import { COLLECTORS } from './controls/collectors.ts'
import { QUESTIONS } from './controls/questions.generated.ts'
import { runNothing, runProgramIn } from './controls/run-program.ts'
import { enroll, type KeyOutcome } from './enroll.ts'
import type { FactsPorts } from './facts-round.ts'
import { type HostKeys, hostKeysIn } from './host-keys.ts'
import { jsonLog, type Log, reason } from './json-log.ts'
import { observe, readHostname } from './observe.ts'
import { stateReport } from './report.ts'
import { reportFilesIn } from './report-files.ts'
import { reportLoop } from './report-loop.ts'
import { rootedTree } from './rooted-tree.ts'
import { rotateKey } from './rotate-key.ts'
import { factsSender, reportSender } from './send-report.ts'
import { openSpool } from './spool.ts'
import { parseToken } from './token.ts'
import { watchSystemPaths } from './watch.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** Wires the parts of each command; the exit code is the answer. */
async function main(argv: readonly string[], processEnvironment: Environment): Promise<number> {
  let line: CommandLine
  try {
    line = parseCommandLine(argv)
  } catch (error) {
    return complain(reason(error))
  }
  const environment = { ...processEnvironment, ...line.environment }
  switch (line.command) {
    case 'help':
      return print(USAGE)
    case 'version':
      return print(`${AGENT_VERSION}\n`)
    case 'observe':
      return await (line.controls ? observeControls(line, environment) : observeOnce(line, environment))
    case 'check-config':
      return await withConfig(line, environment, async (config) => checkConfig(line, config))
    case 'run':
      return await withConfig(line, environment, (config) => run(config, environment, stopSignal()))
    case 'enroll':
    case 'rotate-key':
      return await withConfig(line, environment, (config) => changeKey(line, config, stopSignal()))
  }
}

async function withConfig(
  line: CommandLine,
  environment: Environment,
  act: (config: Config) => Promise<number>,
): Promise<number> {
  const result = await loadConfig(line, environment)
  if (result.ok) return await act(result.config)
  if (line.json) print(`${JSON.stringify(result)}\n`)
  return complain(result.faults.map((fault) => `${fault.path} ${fault.message}`).join('\n'))
}

async function loadConfig(
  line: CommandLine,
  environment: Environment,
): Promise<ReturnType<typeof readConfig>> {
  const named = line.configFile ?? environment['CRYSTAL_FORGE_CONFIG']
  const file = named ?? DEFAULT_CONFIG_FILE
  try {
    return readConfig(environment, { path: file, text: await readFile(file, 'utf8') })
  } catch (error) {
    if (named === undefined) return readConfig(environment, null)
    return { ok: false, faults: [{ path: file, message: `cannot be read: ${reason(error)}` }] }
  }
}

/** One signal ends everything in order; a second one ends the process at once, as signals do. */
function stopSignal(): AbortSignal {
  const stop = new AbortController()
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stop.abort())
  return stop.signal
}

async function run(config: Config, environment: Environment, signal: AbortSignal): Promise<number> {
  const log = stderrLog()
  const tree = rootedTree(config.root)
  try {
    const keys = keysOf(config)
    const [key] = await keys.candidates()
    const controlPlane = await connect(config)
    const files = await reportFilesIn(config.stateDirectory)
    const loop = reportLoop({
      observe: () => observe(tree),
      spool: openSpool({
        files,
        limits: config.spool,
        now: () => new Date(),
        onCorrupt: (name) => log('error', 'a spooled report cannot be read and is set aside', { name }),
      }),
      accepted: await acceptedStateIn(path.join(config.stateDirectory, 'accepted.json')),
      send: reportSender({ controlPlane, keys, log }),
      log,
      now: () => new Date(),
      // Not performance.now(): that loads a module of two megabytes.
      monotonicMs: () => Number(process.hrtime.bigint() / 1_000_000n),
      random: Math.random,
      newReportId: () => randomBytes(16).toString('base64url'),
      heartbeatIntervalMs: config.heartbeatIntervalMs,
      facts: await factsPorts({ config, environment, controlPlane, keys }),
    })
    watchSystemPaths({ tree, onChange: (seen) => loop.changed(seen), log }, signal)
    log('info', 'started', {
      version: AGENT_VERSION,
      control_plane: address(config),
      key: key.keyId,
      root: config.root,
    })
    await loop.run(signal)
    controlPlane.close()
    log('info', 'stopped')
    return EXIT.ok
  } catch (error) {
    log('error', 'cannot run', { because: reason(error) })
    return EXIT.failed
  }
}

async function factsPorts({
  config,
  environment,
  controlPlane,
  keys,
}: {
  readonly config: Config
  readonly environment: Environment
  readonly controlPlane: ControlPlane
  readonly keys: HostKeys
}): Promise<FactsPorts | null> {
  if (config.controlFactsIntervalMs === null) return null
  const file = path.join(config.stateDirectory, 'facts-chain.json')
  const chain = await factsChainIn(file, () => randomBytes(16).toString('base64url'))
  const [, script = ''] = process.argv
  const command = [process.execPath, ...process.execArgv, script] as const
  const child = { ...environment, CRYSTAL_FORGE__CLIENT__ROOT: config.root }
  // Behind the socket this host is looked at, never a prepared tree.
  const socket = config.root === '/' ? config.controlFactsSocket : null
  return {
    source: {
      ...chain,
      collect: (signal) =>
        socket === null ? collectInChild(command, child, signal) : collectOverSocket(socket, signal),
    },
    send: factsSender({ controlPlane, keys }),
    intervalMs: config.controlFactsIntervalMs,
  }
}

async function changeKey(line: CommandLine, config: Config, signal: AbortSignal): Promise<number> {
  try {
    const hostname = await readHostname(rootedTree(config.root))
    if (hostname === null) return complain(`no host name in ${config.root}`)
    const controlPlane = await connect(config)
    const common = { controlPlane, hostname }
    const { configuration } = line
    const outcome =
      line.command === 'rotate-key'
        ? await rotateKey({ ...common, keys: keysOf(config) }, signal)
        : await enroll(
            {
              ...common,
              keyFile: config.privateKeyFile,
              token: await readToken(line),
              ...(configuration === undefined ? {} : { configuration }),
            },
            signal,
          )
    controlPlane.close()
    return tellOutcome(line, outcome)
  } catch (error) {
    return complain(reason(error), EXIT.failed)
  }
}

function keysOf(config: Config): HostKeys {
  return hostKeysIn({
    givenFile: config.privateKeyFile,
    directory: path.join(config.stateDirectory, 'keys'),
  })
}

function tellOutcome(line: CommandLine, outcome: KeyOutcome): number {
  if (line.json) print(`${JSON.stringify(outcome)}\n`)
  switch (outcome.kind) {
    case 'done':
    case 'already': {
      const earlier = outcome.kind === 'already' ? ' (an earlier attempt had arrived)' : ''
      const system = outcome.system === undefined ? '' : ` as ${outcome.system}`
      return line.json ? EXIT.ok : print(`taken${system}${earlier}: ${outcome.keyId} in ${outcome.keyFile}\n`)
    }
    case 'refused':
      return complain(`the control plane refused: ${outcome.because}`, EXIT.refused)
    case 'unreachable':
      return complain(
        `no answer: ${outcome.because}. It may have arrived; run the command again, it finishes what was begun`,
        EXIT.failed,
      )
  }
}

async function readToken(line: CommandLine): Promise<NonNullable<ReturnType<typeof parseToken>>> {
  const { tokenFile = '-' } = line
  const chunks: Buffer[] = []
  if (tokenFile === '-') for await (const chunk of process.stdin) chunks.push(Buffer.from(chunk))
  const text = tokenFile === '-' ? Buffer.concat(chunks).toString('utf8') : await readFile(tokenFile, 'utf8')
  const token = parseToken(text)
  if (token === null) throw new Error(`${tokenFile} holds no token; expected the base64 of 32 bytes`)
  return token
}

/** Needs no server and no key, so that a host can be looked at before it is configured. */
async function observeOnce(line: CommandLine, environment: Environment): Promise<number> {
  const result = await loadConfig(line, environment)
  const root = result.ok ? result.config.root : (environment['CRYSTAL_FORGE__CLIENT__ROOT'] ?? '/')
  const seen = await observe(rootedTree(root))
  if (!seen.ok) return complain(seen.because, EXIT.failed)
  const report = stateReport(seen.observation, 'startup', { reportId: 'not-sent-observed', at: new Date() })
  return print(`${JSON.stringify(report, null, line.json ? 0 : 2)}\n`)
}

/** Also what the waiting process runs, as a process of its own. */
async function observeControls(line: CommandLine, environment: Environment): Promise<number> {
  const result = await loadConfig(line, environment)
  const root = result.ok ? result.config.root : (environment['CRYSTAL_FORGE__CLIENT__ROOT'] ?? '/')
  const host = {
    tree: rootedTree(root),
    run: root === '/' ? runProgramIn() : runNothing,
    now: () => new Date(),
    monotonicMs: () => performance.now(),
  }
  try {
    const facts = await collectFacts(host, QUESTIONS, COLLECTORS)
    return print(`${JSON.stringify(facts, null, line.json ? 0 : 2)}\n`)
  } catch (error) {
    return complain(reason(error), EXIT.failed)
  }
}

function checkConfig(line: CommandLine, config: Config): number {
  if (line.json) return print(`${JSON.stringify({ ok: true, config })}\n`)
  return print(
    `ok: reports of ${config.root} go to ${address(config)}, signed with ${config.privateKeyFile}\n`,
  )
}

async function connect(config: Config): Promise<ControlPlane> {
  return controlPlaneAt({
    endpoint: config.endpoint,
    ca: config.caFile === null ? null : await readFile(config.caFile, 'utf8'),
    userAgent: `crystal-forge-host-agent/${AGENT_VERSION}`,
    now: () => new Date(),
  })
}

function address(config: Config): string {
  const { protocol, hostname, port, basePath } = config.endpoint
  return `${protocol}//${hostname.includes(':') ? `[${hostname}]` : hostname}:${port}${basePath}`
}

function stderrLog(): Log {
  return jsonLog(
    (text) => process.stderr.write(text),
    () => new Date(),
  )
}

function print(text: string): number {
  process.stdout.write(text)
  return EXIT.ok
}

function complain(text: string, code: number = EXIT.usage): number {
  process.stderr.write(`host-agent: ${text.replaceAll('\n', '\nhost-agent: ')}\n`)
  return code
}

process.exitCode = await main(process.argv.slice(2), process.env)
