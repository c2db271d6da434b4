import { type BuilderHelloAnswer, builderHelloAnswer } from '@crystal-forge/protocol'
import type { Answer, ControlPlane } from './control-plane.ts'
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
  const answer = await persistently('hello', () => sayHello(machine, how.controlPlane), how)
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

/** Says once what this builder can do; the answer says where queues and cache are. */
export async function sayHello(machine: Machine, plane: ControlPlane): Promise<Answer<BuilderHelloAnswer>> {
  const hello = {
    v: 1,
    nix_version: machine.nixVersion,
    systems: machine.config.systems,
    scanner: machine.scanner,
    isolation:
      machine.isolation.kind === 'scope' ? 'scope' : `none: ${machine.isolation.reason}`.slice(0, 200),
  }
  return await plane.call('/v1/builder/hello', hello, builderHelloAnswer)
}
