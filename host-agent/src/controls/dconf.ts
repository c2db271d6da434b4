import { type Collector, NAME, textArg, textsArg } from './collector.ts'

/** Values as a profile has them for somebody without settings of their own; a key that is not set is left out. */
export const dconf: Collector = async ({ run }, args) => {
  const profile = textArg(args, 'profile', NAME)
  const values: Record<string, string> = {}
  for (const key of textsArg(args, 'keys', /^[a-z0-9][A-Za-z0-9/.-]{0,200}$/)) {
    const printed = await run('dconf', ['read', `/${key}`], {
      DCONF_PROFILE: profile,
      HOME: '/var/empty',
      XDG_DATA_DIRS: '/run/current-system/sw/share',
    })
    if (printed.trim() !== '') values[key] = plainValue(printed.trim())
  }
  return values
}

/** GVariant text format: `uint32 600` is 600, `'it\'s'` is its content; what is neither stays as it is printed. */
export function plainValue(printed: string): string {
  const number = /^(?:(?:u?int(?:16|32|64)|byte|double) )?(-?[0-9.]+)$/.exec(printed)?.[1]
  if (number !== undefined) return number
  const quoted = /^(['"])([\s\S]*)\1$/.exec(printed)?.[2]
  if (quoted === undefined) return printed
  return quoted.replace(/\\(?:u([0-9a-fA-F]{4})|([\s\S]))/g, (_, hex: string | undefined, one: string) =>
    hex === undefined ? (ESCAPES[one] ?? one) : String.fromCharCode(Number.parseInt(hex, 16)),
  )
}

const ESCAPES: Readonly<Record<string, string | undefined>> = { n: '\n', t: '\t', r: '\r' }
