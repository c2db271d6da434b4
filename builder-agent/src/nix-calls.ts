import { buildEnvironment, type NixCall } from '@crystal-forge/nix-cli'
import type { JobContext } from './job-context.ts'

/** How this builder reads and fills its store: its own settings, nothing of the machine's nix.conf. */
export function storeCall({ machine, lease }: Pick<JobContext, 'machine' | 'lease'>): NixCall {
  const { build: settings } = machine.config
  return {
    env: buildEnvironment(machine.nix, {
      sandbox: machine.sandbox,
      substituters: settings.use_substitutes && !settings.offline ? settings.substituters : [],
      trustedPublicKeys: settings.trusted_public_keys,
      maxJobs: settings.max_jobs,
      cores: settings.cores_per_job,
      buildUsersGroup: machine.buildUsersGroup,
    }),
    store: machine.nix.store,
    // Nix ends a build by itself after build.timeout; this is for a Nix that does not.
    timeoutMs: limitMs(settings.timeout) + 300_000,
    signal: lease.signal,
  }
}

/** A limit of the configuration in milliseconds; 0 is none, as Nix has it, and ends after a week. */
export function limitMs(seconds: number): number {
  return (seconds === 0 ? NO_LIMIT_S : seconds) * 1000
}

const NO_LIMIT_S = 7 * 86_400
