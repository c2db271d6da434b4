// Entry of every npm script: `node scripts/run.mjs TARGET [ARGUMENT...]`.
// Plain JavaScript without dependencies, because it runs on the Node that happens to be there (20 or newer)
// before anything is installed. It sets the checkout up, then runs TARGET on Node 24.
import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { SetupError, setUp } from './setup.mjs'

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))

/** Only what evaluates and builds needs Nix and git; everything else must start without them. */
const NEEDS_NIX = new Set(['test/demo/main.ts', 'scripts/test.ts'])

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code
  },
  (error) => {
    console.error(error instanceof SetupError ? error.message : error)
    process.exitCode = 1
  },
)

/** Sets up and runs the target; resolves to the exit code of the target. */
async function main([target, ...rest]) {
  if (target === undefined) throw new SetupError('usage: node scripts/run.mjs TARGET [ARGUMENT...]')
  const node = await setUp(root, { needsNix: NEEDS_NIX.has(target) })
  return await runTarget(node, [path.join(root, target), ...rest])
}

function runTarget(node, argv) {
  const bin = path.join(root, 'node_modules', '.bin')
  const env = { ...process.env, PATH: `${bin}${path.delimiter}${process.env.PATH ?? ''}` }
  const child = spawn(node, argv, { stdio: 'inherit', env })
  const stopPassing = passSignals(child)
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code, signal) => {
      stopPassing()
      resolve(code ?? 128 + constants.signals[signal])
    })
  })
}

/**
 * Passes SIGTERM, SIGHUP and SIGINT to the child. On a terminal the kernel already sends Ctrl-C to the whole
 * foreground group; passing it again would look like a second, impatient Ctrl-C.
 */
function passSignals(child) {
  const pass = (signal) => child.kill(signal)
  const swallow = () => {}
  const onInterrupt = process.stdin.isTTY ? swallow : pass
  process.on('SIGINT', onInterrupt)
  process.on('SIGTERM', pass)
  process.on('SIGHUP', pass)
  return () => {
    process.off('SIGINT', onInterrupt)
    process.off('SIGTERM', pass)
    process.off('SIGHUP', pass)
  }
}
