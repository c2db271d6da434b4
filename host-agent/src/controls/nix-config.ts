import { CannotCollect, type Collector, type Json } from './collector.ts'

/** The effective settings of Nix that say who may do what. All others stay here: access tokens are among them. */
export const nixConfig: Collector = async ({ run }) => {
  const flags = ['--extra-experimental-features', 'nix-command', '--json']
  const environment = { HOME: '/var/empty', NIX_CONFIG: '' }
  let printed: string
  try {
    printed = await run('nix', ['config', 'show', ...flags], environment)
  } catch (error) {
    // Before Nix 2.20 the command had another name.
    if (!(error instanceof CannotCollect) || error.code !== 'failed') throw error
    printed = await run('nix', ['show-config', ...flags], environment)
  }
  return parseNixConfig(printed)
}

export function parseNixConfig(printed: string): Json {
  let settings: unknown
  try {
    settings = JSON.parse(printed)
  } catch {
    throw new CannotCollect('unreadable', 'nix printed no JSON')
  }
  if (!isObject(settings)) throw new CannotCollect('unreadable', 'nix printed no settings')
  const told: Record<string, Json> = {}
  for (const name of TOLD) {
    const setting = settings[name]
    const value = isObject(setting) ? setting['value'] : undefined
    if (isPlain(value)) told[name] = value
  }
  if (Object.keys(told).length === 0)
    throw new CannotCollect('unreadable', 'nix printed none of the settings')
  return told
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isPlain(value: unknown): value is Json {
  if (Array.isArray(value)) return value.every((part) => typeof part === 'string')
  return typeof value === 'string' || typeof value === 'boolean' || typeof value === 'number'
}

const TOLD = [
  'accept-flake-config',
  'allowed-users',
  'require-sigs',
  'restrict-eval',
  'sandbox',
  'sandbox-fallback',
  'trusted-public-keys',
  'trusted-users',
]
