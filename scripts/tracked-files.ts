import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import * as z from 'zod'

/** A line in a tracked file that ties the repository to one machine, one registry or a moving version. */
export type Offence = { readonly file: string; readonly line: number; readonly what: string }

/** Every offence in the files that git tracks below `root`. Binary files are passed over. */
export async function findOffences(root: string): Promise<Offence[]> {
  const files = await trackedFiles(root)
  const found = await Promise.all(files.map((file) => offencesOf(root, file)))
  return found.flat()
}

async function trackedFiles(root: string): Promise<string[]> {
  const { stdout } = await promisify(execFile)('git', ['ls-files', '-z'], { cwd: root, maxBuffer: 64 << 20 })
  return stdout.split('\0').filter((file) => file !== '')
}

async function offencesOf(root: string, file: string): Promise<Offence[]> {
  // A file that was deleted but not yet committed is still listed by git.
  const bytes = await readFile(path.join(root, file)).catch(() => Buffer.alloc(0))
  if (bytes.includes(0)) return []
  const text = bytes.toString('utf8')
  const manifest = path.basename(file) === 'package.json' ? inexactVersions(text) : []
  return [...machineBound(text, root), ...manifest].map(({ line, what }) => ({ file, line, what }))
}

type Finding = { readonly line: number; readonly what: string }

/** Paths of a developer's machine, hosts of package registries, and addresses in a lock file. */
export function machineBound(text: string, root: string): Finding[] {
  const findings: Finding[] = []
  text.split('\n').forEach((content, index) => {
    for (const [what, pattern] of PATTERNS)
      if (pattern.test(content)) findings.push({ line: index + 1, what })
    if (content.includes(`${root}/`) && isTelling(root)) {
      findings.push({ line: index + 1, what: 'the path of this checkout' })
    }
  })
  return findings
}

/** `/src` or `/app` may stand in a text by accident, a path of two or more parts does not. */
function isTelling(root: string): boolean {
  return root.split('/').filter((part) => part !== '').length >= 2
}

const PATTERNS: readonly (readonly [string, RegExp])[] = [
  [
    'a directory of a developer',
    /\/(?:home|Users)\/[a-z][\w.-]*\/(?:src|code|work|dev|projects|repos|Documents)\//,
  ],
  ['a working directory of a machine', /(?<![\w.~-])\/work\/[a-z.]/],
  ['a host of a package registry', /registry\.(?:npmjs|yarnpkg|npmmirror)\.|\/artifactory\/|\/verdaccio\//],
  ['an address in the lock file', /"resolved": "(?:https?|git\+)/],
]

const dependencies = z.record(z.string(), z.string()).optional()
const manifest = z.object({ dependencies, devDependencies: dependencies, peerDependencies: dependencies })

/** Dependencies that name a range: on an old Node, npm would resolve a range to an older major in silence. */
export function inexactVersions(text: string): Finding[] {
  const {
    dependencies: run = {},
    devDependencies: dev = {},
    peerDependencies: peer = {},
  } = manifest.parse(JSON.parse(text))
  const lines = text.split('\n')
  return Object.entries({ ...run, ...dev, ...peer })
    .filter(([, version]) => !EXACT.test(version))
    .map(([name, version]) => ({
      line: lines.findIndex((line) => line.includes(`"${name}"`)) + 1,
      what: `the range "${version}" for ${name}; pin one exact version`,
    }))
}

const EXACT = /^(?:npm:(?:@[\w.-]+\/)?[\w.-]+@)?\d+\.\d+\.\d+(?:-[\w.]+)?$/

if (import.meta.main) {
  const offences = await findOffences(path.dirname(path.dirname(fileURLToPath(import.meta.url))))
  for (const { file, line, what } of offences) console.log(`${file}:${line}: ${what}`)
  process.exitCode = offences.length === 0 ? 0 : 1
}
