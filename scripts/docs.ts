import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import * as z from 'zod'

// `scripts/docs.ts [--check]`: docs/options.md from the options of the NixOS modules themselves. The evaluation needs Nix and
// nothing else; where Nix is missing a check has nothing to compare and says so.
const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
const FILE = 'docs/options.md'

async function main(argv: readonly string[]): Promise<number> {
  const unknown = argv.find((argument) => argument !== '--check')
  if (unknown !== undefined) {
    console.error(`docs: unknown argument ${JSON.stringify(unknown)}; the only one is --check`)
    return 2
  }
  const check = argv.includes('--check')
  const options = await evaluate()
  if (options === null) {
    console.error('docs: nix-instantiate is not installed, so the options cannot be read')
    return check ? 0 : 1
  }
  const wanted = render(options)
  const file = path.join(root, FILE)
  if (!check) {
    await writeFile(file, wanted)
    console.log(`docs: wrote ${FILE}`)
    return 0
  }
  const found = await readFile(file, 'utf8').catch(() => '')
  if (found === wanted) return 0
  console.error(`docs: ${FILE} is not what the modules say`)
  return 1
}

const option = z.object({
  option: z.string(),
  type: z.string(),
  default: z.string().nullable(),
  description: z.string(),
  readOnly: z.boolean(),
})
const severity = z.enum(['high', 'medium', 'low'])
const documented = z.object({
  service: z.array(option),
  stig: z.array(option),
  params: z.array(option),
  presets: z.array(option),
  syslog: z.array(option),
  rule: z.array(option),
  controls: z.array(z.object({ name: z.string(), rules: z.array(z.string()) })),
  rules: z.array(
    z.object({
      id: z.string(),
      severity,
      mode: z.enum(['full', 'partial', 'none']),
      title: z.string(),
      releases: z.array(z.string()),
    }),
  ),
})
type Documented = z.infer<typeof documented>

async function evaluate(): Promise<Documented | null> {
  const file = path.join(root, 'test/nix/docs.nix')
  const argv = ['--eval', '--strict', '--json', '--store', 'dummy://', '--expr', `import ${file} { }`]
  const PATH = '/usr/local/bin:/usr/bin:/bin:/nix/var/nix/profiles/default/bin:/run/current-system/sw/bin'
  try {
    const env = { PATH, HOME: '/homeless-shelter' }
    const { stdout } = await promisify(execFile)('nix-instantiate', argv, { env, maxBuffer: 64 << 20 })
    return documented.parse(JSON.parse(stdout))
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null
    throw error
  }
}

function render(all: Documented): string {
  const undescribed = [all.service, all.stig, all.params, all.presets, all.syslog]
    .flat()
    .filter(({ description }) => description === '')
  if (undescribed.length > 0)
    throw new Error(`no description: ${undescribed.map((one) => one.option).join(', ')}`)
  const controls = all.controls.map(({ name, rules }) => `| \`${name}\` | ${rules.join(' ')} |`)
  const rules = all.rules.map(
    ({ id, severity: of, mode, title, releases }) =>
      `| ${id} | ${CATEGORY[of]} | ${mode} | ${cell(title)}${releases.includes('V1R2') ? '' : ' (V1R1 only)'} |`,
  )
  return [
    '# Options of the NixOS modules',
    'Written by `scripts/docs.ts` from the modules; `npm run check` compares.',
    '## services.crystal-forge',
    table(all.service),
    '## crystal-forge.stig',
    'Importing `nixosModules.stig` means that every rule of the Anduril NixOS STIG is expected to hold. States are read from the final configuration.',
    table(all.stig),
    '### Presets',
    'A preset names the least severe category that is included. It gives a default for `crystal-forge.stig.baseline`.',
    table(all.presets),
    '### Rules',
    table(all.rule),
    '### Parameters of the site',
    table(all.params),
    '### Controls',
    '`crystal-forge.stig.<control>.enable` (boolean) and `.justification` (list of string, needed when disabled) for groups of rules:',
    ['| control | rules |', '|---|---|', ...controls].join('\n'),
    '### Catalogue',
    'What the configuration decides: `full`, `partial` (a parameter of the site, or a step outside of the host) or `none`.',
    ['| rule | category | configuration | title |', '|---|---|---|---|', ...rules].join('\n'),
    '## services.syslog-ng',
    'For the release V1R1, whose mechanism is syslog-ng.',
    table(all.syslog),
  ]
    .join('\n\n')
    .concat('\n')
}

const CATEGORY = { high: 'CAT I', medium: 'CAT II', low: 'CAT III' } as const

function table(options: readonly z.infer<typeof option>[]): string {
  const rows = options.map((one) => {
    const value = one.readOnly ? 'read-only' : one.default === null ? 'none' : `\`${cell(one.default)}\``
    return `| \`${cell(one.option)}\` | ${cell(one.type)} | ${value} | ${cell(one.description)} |`
  })
  return ['| option | type | default | meaning |', '|---|---|---|---|', ...rows].join('\n')
}

function cell(text: string): string {
  return text
    .trim()
    .replaceAll('|', '\\|')
    .replaceAll(/\s*\n\s*/g, ' ')
}

process.exitCode = await main(process.argv.slice(2))
