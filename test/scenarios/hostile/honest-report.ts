import type { RawRequest } from '../raw-http.ts'
import { freshNonce, type Signing, signed } from '../signed-call.ts'
import { type HostileWorld, stateReport } from './hostile-world.ts'

export const REPORTS = '/v1/agent/reports'

/** A report of web-1 that would be accepted, but for what is changed. */
export function report(world: HostileWorld, changes: Partial<Signing> = {}): RawRequest {
  return signed({
    by: world.hosts.web.seed,
    authority: world.authority,
    tag: 'crystal-forge-agent-v1',
    target: REPORTS,
    body: stateReport('web-1', `hostile-${freshNonce()}`),
    ...changes,
  })
}

/** The same with other members in its body. */
export function reportWith(world: HostileWorld, changes: object): RawRequest {
  return report(world, { body: stateReport('web-1', `hostile-${freshNonce()}`, changes) })
}
