import type { Caller } from '../functions/routes.ts'

/**
 * Requests per second of one route, and how many may come at once, by who calls it. Ten thousand hosts that report every
 * ten minutes are 17 a second; the rest is room for a fleet that comes back at once after an outage, with jitter.
 */
export const THROTTLE: Readonly<Record<Caller, { readonly rate: number; readonly burst: number }>> = {
  agent: { rate: 200, burst: 400 },
  builder: { rate: 50, burst: 100 },
  operator: { rate: 20, burst: 50 },
  forge: { rate: 20, burst: 50 },
  anyone: { rate: 10, burst: 20 },
}

/** `POST /v1/hooks/{hook}`: method and path. */
export function splitKey(key: string): { readonly method: string; readonly path: string } {
  const [method = '', path = ''] = key.split(' ')
  return { method, path }
}
