import { type Evaluator, evaluationEnvironment } from '@crystal-forge/nix-cli'
import type { JobContext } from './job-context.ts'

/** How this builder reads a flake that nobody trusts yet: pure, restricted, from the allowed forges only. */
export function evaluatorOf({ machine, lease }: Pick<JobContext, 'machine' | 'lease'>): Evaluator {
  const forges = machine.config.forges.flatMap((host) => [
    `https://${host}/`,
    `git+https://${host}/`,
    `ssh://git@${host}/`,
    `git+ssh://git@${host}/`,
  ])
  const local = machine.config.local_flakes.flatMap((path) => [`git+file://${path}`, `file://${path}`])
  return {
    env: evaluationEnvironment(machine.nix, {
      allowedUris: [...forges, ...local, ...machine.config.allowed_uris],
      importFromDerivation: false,
    }),
    store: machine.nix.store,
    policy: machine.policy,
    timeoutMs: machine.config.evaluation_timeout * 1000,
    signal: lease.signal,
  }
}
