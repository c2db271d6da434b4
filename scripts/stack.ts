import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { constants, hostname } from 'node:os'
import path from 'node:path'
import process from 'node:process'
import * as z from 'zod'

// The steps of process-compose.yaml that are more than one program: `node scripts/stack.ts keys | apply | agent | builder`. They are
// not written there, because process-compose puts its own values in place of every "$".
const root = path.dirname(import.meta.dirname)
const stack = path.resolve(root, process.env['CF_STACK_DIRECTORY'] ?? '.cache/stack')
const URL_OF_SERVER = process.env['CF_STACK_SERVER'] ?? 'http://127.0.0.1:3445'

const STEPS: Readonly<Record<string, () => Promise<number>>> = { keys, apply, agent, builder }

async function main([name = '', ...rest]: readonly string[]): Promise<number> {
  const step = STEPS[name]
  if (step !== undefined && rest.length === 0) return await step()
  console.error(
    `stack: one of ${Object.keys(STEPS).join(', ')} is needed, not ${JSON.stringify([name, ...rest].join(' '))}`,
  )
  return 2
}

/** Keys of the agent and the builder of this machine, made once. */
async function keys(): Promise<number> {
  await mkdir(stack, { recursive: true, mode: 0o700 })
  for (const name of ['agent', 'builder']) {
    const file = path.join(stack, `${name}.key`)
    const code = existsSync(file) ? 0 : await run('cli/src/main.ts', ['keygen', '--yes', '--file', file], {})
    if (code !== 0) return code
  }
  return 0
}

/** Declares both to the server. */
async function apply(): Promise<number> {
  const publicHalf = async (name: string): Promise<string> =>
    JSON.stringify((await readFile(path.join(stack, `${name}.pub`), 'utf8')).trim())
  const file = path.join(stack, 'fleet.toml')
  await writeFile(
    file,
    [
      '[[systems]]',
      `hostname = ${JSON.stringify(hostname())}`,
      `public_key = ${await publicHalf('agent')}`,
      'environment = "dev"',
      '[[builders]]',
      'name = "here"',
      `public_key = ${await publicHalf('builder')}`,
      '',
    ].join('\n'),
  )
  return await run('cli/src/main.ts', ['apply', '-f', file], {
    CF_SERVER: URL_OF_SERVER,
    CF_TOKEN_FILE: path.join(stack, 'server/secrets/admin-token'),
  })
}

async function agent(): Promise<number> {
  return await run('host-agent/src/main.ts', ['run'], {
    CRYSTAL_FORGE__CLIENT__SERVER_URL: URL_OF_SERVER,
    CRYSTAL_FORGE__CLIENT__PRIVATE_KEY: path.join(stack, 'agent.key'),
    CRYSTAL_FORGE__CLIENT__STATE_DIRECTORY: path.join(stack, 'agent'),
  })
}

/** The server says at its start which key signs jobs and where its queues are. */
async function builder(): Promise<number> {
  const server = z
    .object({ jobPublicKey: z.string(), awsEndpoint: z.string() })
    .parse(JSON.parse(await readFile(path.join(stack, 'server/server.json'), 'utf8')))
  return await run('builder-agent/src/main.ts', ['run'], {
    CRYSTAL_FORGE__BUILDER__SERVER_URL: URL_OF_SERVER,
    CRYSTAL_FORGE__BUILDER__PRIVATE_KEY: path.join(stack, 'builder.key'),
    CRYSTAL_FORGE__BUILDER__STATE_DIRECTORY: path.join(stack, 'builder'),
    CRYSTAL_FORGE__BUILDER__JOB_PUBLIC_KEY: server.jobPublicKey,
    CRYSTAL_FORGE__BUILDER__AWS_ENDPOINT: server.awsEndpoint,
  })
}

/** Runs a program of this checkout to its end; a signal that asks this step to end is passed on. */
function run(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<number> {
  const child = spawn(process.execPath, [path.join(root, program), ...args], {
    stdio: 'inherit',
    env: { ...process.env, ...env },
  })
  const pass = (signal: NodeJS.Signals): boolean => child.kill(signal)
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, pass)
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code, signal) =>
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])),
    )
  })
}

process.exitCode = await main(process.argv.slice(2))
