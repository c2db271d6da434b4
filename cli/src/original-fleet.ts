import { parseDuration } from './duration.ts'
import { CommandError, EXIT } from './exit.ts'

/**
 * Takes the words of the original's config.toml: `[flakes] watched = [...]` with one polling interval for all, and sections that
 * configure its programs. A declaration in our words comes back as it is.
 */
export function fromOriginal(parsed: unknown): {
  readonly declared: unknown
  readonly warnings: readonly string[]
} {
  if (typeof parsed !== 'object' || parsed === null) return { declared: parsed, warnings: [] }
  const entries = Object.entries(parsed).map(([name, value]): [string, unknown] => [
    SECTIONS.includes(name.toLowerCase()) ? name.toLowerCase() : name,
    value,
  ])
  const programs = entries.filter(([name]) => PROGRAM_SECTIONS.includes(name)).map(([name]) => name)
  const kept = Object.fromEntries(entries.filter(([name]) => !PROGRAM_SECTIONS.includes(name)))
  const warnings =
    programs.length === 0
      ? []
      : [
          `${programs.map((name) => `[${name}]`).join(', ')} configure a program and are not part of a fleet: ignored`,
        ]
  const { flakes } = kept
  if (typeof flakes !== 'object' || flakes === null || Array.isArray(flakes))
    return { declared: kept, warnings }
  const read = watchedFlakes(flakes)
  return { declared: { ...kept, flakes: read.flakes }, warnings: [...warnings, ...read.warnings] }
}

function watchedFlakes(section: object): { readonly flakes: unknown; readonly warnings: readonly string[] } {
  const values = new Map<string, unknown>(
    Object.entries(section).map(([key, value]) => [key.toLowerCase(), value]),
  )
  const interval = values.get('flake_polling_interval')
  const seconds = interval === undefined ? undefined : parseDuration(interval)
  if (seconds === null)
    throw new CommandError(
      EXIT.usage,
      `flakes.flake_polling_interval is ${JSON.stringify(interval)}: expected a duration such as "10m" or seconds`,
    )
  const unknown = [...values.keys()].filter((key) => !FLAKE_KEYS.includes(key))
  if (unknown.length > 0)
    throw new CommandError(EXIT.usage, `flakes.${unknown[0]} is unknown: known are ${FLAKE_KEYS.join(', ')}`)
  const dead = DEAD_FLAKE_KEYS.filter((key) => values.has(key))
  const watched = values.get('watched') ?? []
  const flakes =
    Array.isArray(watched) && seconds !== undefined
      ? watched.map((flake: unknown) =>
          typeof flake === 'object' && flake !== null ? { poll_interval_s: seconds, ...flake } : flake,
        )
      : watched
  const warnings =
    dead.length === 0
      ? []
      : [
          `${dead.map((key) => `flakes.${key}`).join(', ')} had no effect worth keeping: work starts as soon as it is known`,
        ]
  return { flakes, warnings }
}

const PROGRAM_SECTIONS = ['database', 'server', 'client', 'build', 'vulnix', 'cache', 'auth', 'deployment']
const SECTIONS = [...PROGRAM_SECTIONS, 'flakes', 'systems', 'environments']
const DEAD_FLAKE_KEYS = ['commit_evaluation_interval', 'build_processing_interval']
const FLAKE_KEYS = ['watched', 'flake_polling_interval', ...DEAD_FLAKE_KEYS]
