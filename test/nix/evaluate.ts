import { execFile } from 'node:child_process'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const directory = path.dirname(fileURLToPath(import.meta.url))

/** Where distributions put Nix; tests do not depend on the caller's environment. */
const PATH = '/usr/local/bin:/usr/bin:/bin:/nix/var/nix/profiles/default/bin:/run/current-system/sw/bin'

/** The real NixOS module tree, when `npm run test:nix` was told where it is. */
export const harness: string | undefined = process.env['HARNESS_ROOT']

/** Whether Nix is there at all; without it the tests of Nix code are skipped and say so. */
export const nix: { readonly version: string | null; readonly note: string } = await findNix()

async function findNix(): Promise<typeof nix> {
  try {
    const { stdout } = await promisify(execFile)('nix-instantiate', ['--version'], { env: { PATH } })
    const version = stdout.trim()
    return {
      version,
      note: `(${version}, ${harness === undefined ? 'without nixpkgs' : 'real NixOS modules'})`,
    }
  } catch {
    return { version: null, note: '(skipped: nix is not installed)' }
  }
}

/** Rules whose options moved between releases of nixpkgs: there the newer one is evaluated too. */
export const MOVED: readonly string[] = '084 086 101 102 103 104 105 106 107 110 150 172'
  .split(' ')
  .map((digits) => `V-268${digits}`)

/** Evaluates a function of `test/nix/*.nix` to JSON. No store is touched. Rejects with what Nix said. */
export async function evaluateNix(
  file: string,
  args: Readonly<Record<string, string | readonly string[]>>,
): Promise<unknown> {
  const given = Object.entries(harness === undefined ? args : { harness, ...args }).flatMap(
    ([name, value]) =>
      typeof value === 'string'
        ? ['--argstr', name, value]
        : ['--arg', name, `[ ${value.map((one) => JSON.stringify(one)).join(' ')} ]`],
  )
  const { stdout } = await promisify(execFile)(
    'nix-instantiate',
    ['--eval', '--strict', '--json', '--store', 'dummy://', path.join(directory, file), ...given],
    { env: { PATH, HOME: '/homeless-shelter' }, maxBuffer: 256 << 20 },
  )
  return JSON.parse(stdout)
}
