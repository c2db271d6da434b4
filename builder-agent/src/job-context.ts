import type { Git, NixSetup, RepositoryPolicy, Sandbox } from '@crystal-forge/nix-cli'
import type { JobDocument, SecretSeed } from '@crystal-forge/protocol'
import type { CacheBucket } from './cache-bucket.ts'
import type { BuilderConfig } from './config.ts'
import type { ControlPlane } from './control-plane.ts'
import type { Lease } from './lease.ts'
import type { Log } from './log.ts'
import type { UploadPool } from './upload-pool.ts'

/** What this machine is and has; the same for every job. */
export type Machine = {
  readonly config: BuilderConfig
  readonly nix: NixSetup
  readonly nixVersion: string
  /** Name and version of the scanner; null when there is none. */
  readonly scanner: string | null
  readonly sandbox: Sandbox
  /** `scope`, or why builds are not limited. */
  readonly isolation: { readonly kind: 'scope' } | { readonly kind: 'none'; readonly reason: string }
  /** The group whose members run builds; empty where there is none and root runs them. */
  readonly buildUsersGroup: string
  /** Tells the scopes of this builder from those of another one on the machine. */
  readonly tag: string
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
  readonly uploads: UploadPool
  readonly lease: Lease
  readonly log: Log
}
