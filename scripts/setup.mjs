// Brings a checkout into the state that every script expects. Runs on Node 20, before any dependency exists.
// All messages go to stderr: the standard output belongs to the target.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { accessSync, constants, existsSync } from 'node:fs'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'

/** Something the user can repair; the message is one line that says how. */
export class SetupError extends Error {}

/**
 * Installs what is missing and returns the path of a Node 24 or newer.
 * Safe to run several times at once on one checkout: one run installs, the others wait for it.
 * @param {string} root directory of the checkout
 * @param {{ needsNix: boolean }} options whether `nix` and `git` have to be there as well
 * @returns {Promise<string>}
 */
export async function setUp(root, { needsNix }) {
  const pathBefore = withoutOurBin(root, process.env.PATH ?? '')
  if (!(await isInstalled(root)) || (needsNix && missingTools(pathBefore).length > 0)) {
    await withLock(path.join(root, '.cache', 'setup.lock'), async () => {
      if (!(await isInstalled(root))) await installPackages(root, pathBefore)
      if (needsNix) await installTools(pathBefore)
    })
  }
  return node24(root)
}

/** Whether node_modules was made from the package-lock.json that is there now. */
async function isInstalled(root) {
  const lock = await readFile(path.join(root, 'package-lock.json'))
  const digest = createHash('sha256').update(lock).digest('hex')
  if ((await readOr(stampFile(root), '')).trim() === digest) return true
  if (!(await treeMatches(root, JSON.parse(lock.toString())))) return false
  await writeFile(stampFile(root), `${digest}\n`)
  return true
}

/**
 * Whether npm's own record of the tree names exactly the packages of the lock file, as it does after an
 * `npm install`. Then there is no reason to throw the tree away, possibly below a running process.
 */
async function treeMatches(root, lock) {
  const record = await readOr(path.join(root, 'node_modules', '.package-lock.json'), '')
  if (record === '') return false
  const installed = JSON.parse(record).packages ?? {}
  const wanted = Object.entries(lock.packages ?? {}).filter(([where]) => where.startsWith('node_modules/'))
  const same = ([where, entry]) => {
    const there = installed[where]
    if (there === undefined) return entry.optional === true || entry.devOptional === true
    return there.version === entry.version && there.integrity === entry.integrity
  }
  return wanted.every(same) && Object.keys(installed).every((where) => lock.packages[where] !== undefined)
}

async function installPackages(root, searchPath) {
  say('setup: installing npm packages (npm ci), about half a minute')
  const started = Date.now()
  // npm must not run on the Node of the tree that it is about to delete: hence the path without our .bin.
  const env = { ...process.env, PATH: searchPath }
  delete env.npm_execpath
  delete env.npm_node_execpath
  const argv = ['ci', '--no-audit', '--no-fund', '--loglevel=error']
  const code = await run('npm', argv, { cwd: root, env })
  if (code !== 0) {
    throw new SetupError(`setup: npm ci failed (exit code ${code}); repair what npm says above and run again`)
  }
  const lock = await readFile(path.join(root, 'package-lock.json'))
  await writeFile(stampFile(root), `${createHash('sha256').update(lock).digest('hex')}\n`)
  say(`setup: npm packages are in place (${seconds(started)})`)
}

async function installTools(searchPath) {
  const missing = missingTools(searchPath)
  if (missing.length === 0) return
  const packages = missing.map((tool) => DEBIAN_PACKAGES[tool])
  if (process.getuid?.() !== 0 || !existsSync('/etc/debian_version') || !isOnPath('apt-get', searchPath)) {
    throw new SetupError(
      `setup: ${missing.join(' and ')} not found on PATH; install with "sudo apt-get install ${packages.join(' ')}" ` +
        'or, for Nix on another system, from nixos.org/download, and run again',
    )
  }
  say(`setup: installing ${packages.join(' and ')} with apt-get`)
  const started = Date.now()
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const install = () => run('apt-get', [...APT_INSTALL, ...packages], { cwd: '/', env })
  // The package lists of a fresh machine are often empty or old; only then is the slow update needed.
  if ((await install()) !== 0) {
    say('setup: refreshing the package lists (apt-get update)')
    await run('apt-get', ['-qq', 'update'], { cwd: '/', env })
    const code = await install()
    if (code !== 0) {
      throw new SetupError(`setup: apt-get could not install ${packages.join(' ')} (exit code ${code})`)
    }
  }
  say(`setup: ${missing.join(' and ')} installed (${seconds(started)})`)
}

const DEBIAN_PACKAGES = { nix: 'nix-bin', git: 'git' }

const APT_INSTALL = ['-qq', '-o', 'DPkg::Lock::Timeout=300', 'install', '-y', '--no-install-recommends']

function missingTools(searchPath) {
  return Object.keys(DEBIAN_PACKAGES).filter((tool) => !isOnPath(tool, searchPath))
}

function isOnPath(tool, searchPath) {
  return searchPath.split(path.delimiter).some((directory) => isExecutable(path.join(directory, tool)))
}

function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Node 24 comes from the `node` package; a newer Node that already runs this file will do as well. */
function node24(root) {
  const own = path.join(root, 'node_modules', 'node', 'bin', 'node')
  if (isExecutable(own)) return own
  if (Number.parseInt(process.versions.node, 10) >= 24) return process.execPath
  throw new SetupError(
    'setup: Node 24 is missing because npm did not run install scripts; ' +
      'run "npm rebuild node --ignore-scripts=false" and try again',
  )
}

/**
 * Holds a lock directory while `work` runs. A lock whose owner is dead is taken over. The takeover itself is
 * guarded by a second directory, so that nobody removes a lock that was renewed in between.
 */
async function withLock(lock, work) {
  await mkdir(path.dirname(lock), { recursive: true })
  const owner = path.join(lock, 'pid')
  for (let waits = 0; !(await tryMkdir(lock)); waits += 1) {
    if (waits === LOCK_WAITS_BEFORE_WORD) say('setup: waiting for another set-up of this checkout')
    if (waits === LOCK_WAITS_MAX) throw new SetupError(`setup: still locked; remove ${lock} and run again`)
    if (await isAbandoned(owner)) await takeOver(lock, owner)
    else await new Promise((resolve) => setTimeout(resolve, LOCK_WAIT_MS))
  }
  try {
    await writeFile(owner, String(process.pid))
    return await work()
  } finally {
    await rm(lock, { recursive: true, force: true })
  }
}

async function takeOver(lock, owner) {
  const guard = `${lock}.takeover`
  if (!(await tryMkdir(guard))) return await new Promise((resolve) => setTimeout(resolve, LOCK_WAIT_MS))
  try {
    if (await isAbandoned(owner)) await rm(lock, { recursive: true, force: true })
  } finally {
    await rm(guard, { recursive: true, force: true })
  }
}

async function isAbandoned(owner) {
  // A lock without a pid is being made right now; if its maker died in that instant, the wait limit says so.
  const pid = Number.parseInt(await readOr(owner, ''), 10)
  if (Number.isNaN(pid)) return false
  try {
    process.kill(pid, 0)
    return false
  } catch (error) {
    return error.code === 'ESRCH'
  }
}

const LOCK_WAIT_MS = 200
const LOCK_WAITS_BEFORE_WORD = 10
/** Ten minutes: a slow first installation, with apt, ends before. */
const LOCK_WAITS_MAX = 3000

async function tryMkdir(directory) {
  try {
    await mkdir(directory)
    return true
  } catch (error) {
    if (error.code === 'EEXIST') return false
    throw error
  }
}

function withoutOurBin(root, searchPath) {
  const ours = path.join(root, 'node_modules')
  const outside = (directory) => directory !== ours && !directory.startsWith(ours + path.sep)
  return searchPath.split(path.delimiter).filter(outside).join(path.delimiter)
}

function run(command, argv, options) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, argv, { ...options, stdio: ['ignore', 2, 2] })
    child.once('error', (error) => {
      reject(new SetupError(`setup: cannot run ${command}: ${error.message}`))
    })
    child.once('exit', (code) => resolve(code ?? 1))
  })
}

async function readOr(file, otherwise) {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if (error.code === 'ENOENT') return otherwise
    throw error
  }
}

function stampFile(root) {
  return path.join(root, 'node_modules', '.cf-lock-sha256')
}

function seconds(since) {
  return `${((Date.now() - since) / 1000).toFixed(1)} s`
}

function say(line) {
  console.error(line)
}
