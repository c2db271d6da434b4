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
      buildUsersGroup: '',
    }),
    store: machine.nix.store,
    // Nix ends a build by itself after build.timeout; this is for a Nix that does not.
    timeoutMs: (settings.timeout + 300) * 1000,
    signal: lease.signal,
  }
}
