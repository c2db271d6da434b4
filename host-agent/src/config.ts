import path from 'node:path'
import { parse as parseToml } from 'smol-toml'
import { FRESH_FOR_HOURS_MIN } from './controls/questions.generated.ts'
import { parseDurationMs } from './duration.ts'
import { type Endpoint, type EndpointFault, endpointOf } from './endpoint.ts'

/** What the agent was told. Secrets are paths; nothing here must be hidden from a log. */
export type Config = {
  readonly endpoint: Endpoint
  /** File with the base64 of the 32-byte Ed25519 seed. */
  readonly privateKeyFile: string
  /** Spool and memory of the agent; the agent alone writes there. */
  readonly stateDirectory: string
  /** `/`, or a prepared tree that is observed in its place. */
  readonly root: string
  /** PEM certificates that are trusted besides none other; null means those of Node. */
  readonly caFile: string | null
  /** Until the control plane names another interval. */
  readonly heartbeatIntervalMs: number
  /** How often the facts that controls are judged by are collected, besides at start and after a switch; null for never. */
  readonly controlFactsIntervalMs: number | null
  /** Where systemd starts the collectors in a unit of their own; null to run them below the agent. */
  readonly controlFactsSocket: string | null
  readonly spool: { readonly bytesMax: number; readonly ageMaxMs: number }
}

export type ConfigFault = { readonly path: string; readonly message: string }
export type ConfigResult =
  | { readonly ok: true; readonly config: Config }
  | { readonly ok: false; readonly faults: readonly ConfigFault[] }

/** Where the NixOS module puts the file; it may be absent as long as nobody named it. */
export const DEFAULT_CONFIG_FILE = '/var/lib/crystal-forge-agent/config.toml'

/**
 * The configuration from a file (TOML, or JSON when it begins with a brace) and the environment
 * `CRYSTAL_FORGE__CLIENT__KEY`, which wins. Names and meanings of the original stay; sections of its other programs are not
 * looked at. Pure; every fault is reported, each with the path of its key.
 * @param file its name and text, or null when there is none.
 */
export function readConfig(
  env: Readonly<Record<string, string | undefined>>,
  file: { readonly path: string; readonly text: string } | null,
): ConfigResult {
  const faults: ConfigFault[] = []
  const section = new Section(clientSection(env, file, faults), faults)
  const endpointInput = {
    serverUrl: section.text('server_url'),
    serverHost: section.text('server_host'),
    serverPort: section.integer('server_port', 1, 65_535),
    allowPlainHttp: section.flag('allow_plain_http') ?? false,
    authority: section.text('authority'),
  }
  const privateKeyFile = section.absolutePath('private_key')
  const settings = {
    stateDirectory: section.absolutePath('state_directory') ?? '/var/lib/crystal-forge-agent',
    root: section.absolutePath('root') ?? '/',
    caFile: section.absolutePath('ca_file'),
    heartbeatIntervalMs: section.duration('heartbeat_interval', 5_000, 3_600_000) ?? 600_000,
    controlFactsIntervalMs: controlFactsInterval(section),
    controlFactsSocket: section.absolutePath('control_facts_socket'),
    spool: {
      bytesMax: section.integer('spool_max_bytes', 65_536, 1_073_741_824) ?? 16 * 1024 * 1024,
      ageMaxMs: section.duration('spool_max_age', 60_000, 366 * 86_400_000) ?? 30 * 86_400_000,
    },
  }
  section.refuseTheRest()
  if (privateKeyFile === null && !section.wasGiven('private_key')) {
    faults.push({
      path: 'client.private_key',
      message: 'is missing; name the file with the private key of this host',
    })
  }
  const endpoint = section.serverIsReadable() ? endpointOf(endpointInput) : null
  if (endpoint !== null && 'message' in endpoint) faults.push(asFault(endpoint))
  if (endpoint === null || 'message' in endpoint || privateKeyFile === null || faults.length > 0) {
    return { ok: false, faults }
  }
  return { ok: true, config: { endpoint, privateKeyFile, ...settings } }
}

/**
 * Both keys are read, so that neither is unknown. Facts count at the control plane for so long; with two looks in that time one message
 * may be lost or late, and with fewer every control would be unproven for a part of each day.
 */
function controlFactsInterval(section: Section): number | null {
  const longest = (FRESH_FOR_HOURS_MIN * 3_600_000) / 2
  const interval = section.duration('control_facts_interval', 3_600_000, longest) ?? DAY_MS
  return (section.flag('control_facts') ?? true) ? interval : null
}

const DAY_MS = 86_400_000

function asFault({ key, message }: EndpointFault): ConfigFault {
  return { path: `client.${key}`, message }
}

type Entry = { readonly value: unknown; readonly path: string }

function clientSection(
  env: Readonly<Record<string, string | undefined>>,
  file: { readonly path: string; readonly text: string } | null,
  faults: ConfigFault[],
): Map<string, Entry> {
  const entries = new Map<string, Entry>()
  const document = file === null ? {} : parseDocument(file, faults)
  for (const [name, section] of Object.entries(document)) {
    if (name.toLowerCase() !== 'client') continue
    if (!isTable(section)) {
      faults.push({ path: 'client', message: `is ${JSON.stringify(section)}; write a table [client]` })
      continue
    }
    for (const [key, value] of Object.entries(section)) {
      entries.set(key.toLowerCase(), { value, path: `client.${key}` })
    }
  }
  for (const [name, value] of Object.entries(env)) {
    const key = /^CRYSTAL_FORGE__CLIENT__(.+)$/i.exec(name)?.[1]
    if (key !== undefined && value !== undefined) entries.set(key.toLowerCase(), { value, path: name })
  }
  return entries
}

function parseDocument(
  file: { readonly path: string; readonly text: string },
  faults: ConfigFault[],
): Record<string, unknown> {
  try {
    const document: unknown = /^\s*\{/.test(file.text) ? JSON.parse(file.text) : parseToml(file.text)
    if (isTable(document)) return document
    faults.push({ path: file.path, message: 'is no table of sections' })
  } catch (error) {
    const [first = 'cannot be parsed'] = String(error instanceof Error ? error.message : error).split('\n')
    faults.push({ path: file.path, message: first })
  }
  return {}
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Takes one value after the other; each that does not fit becomes a fault and is null. */
class Section {
  readonly #entries: Map<string, Entry>
  readonly #faults: ConfigFault[]
  readonly #taken = new Set<string>()
  readonly #unfit = new Set<string>()

  constructor(entries: Map<string, Entry>, faults: ConfigFault[]) {
    this.#entries = entries
    this.#faults = faults
  }

  text(key: string): string | null {
    return this.#take(key, 'a text of one line', (value) =>
      typeof value === 'string' && /^[\x20-\x7e]{1,2048}$/.test(value) ? value : null,
    )
  }

  absolutePath(key: string): string | null {
    return this.#take(key, 'an absolute path', (value) =>
      typeof value === 'string' && path.isAbsolute(value) && !value.includes('\0')
        ? path.normalize(value)
        : null,
    )
  }

  integer(key: string, min: number, max: number): number | null {
    return this.#take(key, `a whole number from ${min} to ${max}`, (value) => {
      const number = typeof value === 'string' && /^[0-9]{1,15}$/.test(value) ? Number(value) : value
      return typeof number === 'number' && Number.isInteger(number) && number >= min && number <= max
        ? number
        : null
    })
  }

  flag(key: string): boolean | null {
    return this.#take(key, 'true or false', (value) => {
      if (value === true || value === 'true') return true
      return value === false || value === 'false' ? false : null
    })
  }

  duration(key: string, minMs: number, maxMs: number): number | null {
    const range = `a duration from ${minMs / 1000} s to ${maxMs / 1000} s, such as "10m" or 600`
    return this.#take(key, range, (value) => {
      const ms = parseDurationMs(value)
      return ms !== null && ms >= minMs && ms <= maxMs ? ms : null
    })
  }

  wasGiven(key: string): boolean {
    return this.#entries.has(key)
  }

  /** A second complaint about a server that could not even be read would only hide the first. */
  serverIsReadable(): boolean {
    return ['server_url', 'server_host', 'server_port', 'allow_plain_http', 'authority'].every(
      (key) => !this.#unfit.has(key),
    )
  }

  refuseTheRest(): void {
    for (const [key, entry] of this.#entries) {
      if (this.#taken.has(key)) continue
      const known = [...this.#taken].join(', ')
      this.#faults.push({ path: entry.path, message: `is not known; the keys of this section are ${known}` })
    }
  }

  #take<T>(key: string, expected: string, read: (value: unknown) => T | null): T | null {
    this.#taken.add(key)
    const entry = this.#entries.get(key)
    if (entry === undefined) return null
    const value = read(entry.value)
    if (value !== null) return value
    this.#unfit.add(key)
    this.#faults.push({ path: entry.path, message: `is ${shown(entry.value)}; expected ${expected}` })
    return null
  }
}

function shown(value: unknown): string {
  const text = JSON.stringify(value)
  return text.length > 100 ? `${text.slice(0, 100)}...` : text
}
