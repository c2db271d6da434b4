import type { Git, NixSetup, RepositoryPolicy, Sandbox } from '@crystal-forge/nix-cli'
import type { JobDocument, SecretSeed } from '@crystal-forge/protocol'
import type { CacheBucket } from './cache-bucket.ts'
import type { BuilderConfig } from './config.ts'
import type { ControlPlane } from './control-plane.ts'
import type { Lease } from './lease.ts'
import type { Log } from './log.ts'

/** What this machine is and has; the same for every job. */
export type Machine = {
  readonly config: BuilderConfig
  readonly nix: NixSetup
  readonly nixVersion: string
  readonly sandbox: Sandbox
  /** `scope`, or why builds are not limited. */
  readonly isolation: { readonly kind: 'scope' } | { readonly kind: 'none'; readonly reason: string }
  readonly policy: RepositoryPolicy
  readonly git: Omit<Git, 'signal'>
  readonly seed: SecretSeed
}

/** One claimed job: what to do, with what, and until when. */
export type JobContext = {
  readonly machine: Machine
  readonly document: JobDocument
  readonly controlPlane: ControlPlane
  readonly bucket: CacheBucket
  readonly lease: Lease
  readonly log: Log
}
