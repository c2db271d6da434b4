import { type BuilderHelloAnswer, builderHelloAnswer } from '@crystal-forge/protocol'
import type { ControlPlane } from './control-plane.ts'
import type { Machine } from './job-context.ts'
import type { Log } from './log.ts'
import { persistently } from './persistently.ts'

/**
 * Says what this builder can do and learns where the queues and the cache are. Waits for a control plane that is away;
 * one that does not know this key is an error, because waiting would not help.
 * @returns null when `signal` aborted first.
 */
export async function openSession(
  machine: Machine,
  how: { readonly controlPlane: ControlPlane; readonly signal: AbortSignal; readonly log: Log },
): Promise<BuilderHelloAnswer | null> {
  const hello = {
    v: 1,
    nix_version: machine.nixVersion,
    systems: machine.config.systems,
    scanner: machine.scanner,
    isolation:
      machine.isolation.kind === 'scope' ? 'scope' : `none: ${machine.isolation.reason}`.slice(0, 200),
  }
  const answer = await persistently(
    'hello',
    () => how.controlPlane.call('/v1/builder/hello', hello, builderHelloAnswer),
    how,
  )
  switch (answer.kind) {
    case 'ok':
      return answer.body
    case 'unanswered':
      return null
    case 'refused':
      throw new Error(
        `the control plane refused this builder: ${answer.code} ${answer.detail} (key id ${how.controlPlane.keyId}; declare its public key with cf apply)`,
      )
  }
}
