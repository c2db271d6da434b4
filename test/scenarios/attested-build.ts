import {
  type BuildPayload,
  buildStatementOf,
  closureDigest,
  keyId,
  parseStorePath,
  publicKeyOfSeed,
  type SecretSeed,
  signAttestation,
} from '@crystal-forge/protocol'

/** The result of a build that went well, attested by its builder. Its closure is the output alone. */
export function attestedBuild(
  work: BuildPayload,
  made: {
    readonly job: string
    readonly seed: SecretSeed
    readonly narHash: string
    readonly narSize: number
  },
): object {
  const storePath = parseStorePath(work.out_path)
  if (storePath === null) throw new Error(`${work.out_path} is no store path`)
  const { job, seed, narHash, narSize } = made
  const { sha256 } = closureDigest([{ storePath, narHash, narSize, references: [] }])
  const statement = buildStatementOf({
    repository: 'https://git.example.com/acme/fleet',
    revision: work.rev,
    attribute: work.configuration,
    drvPath: work.drv_path,
    outputs: [{ path: work.out_path, narHash }],
    closureSha256: sha256,
    builderKeyId: keyId(publicKeyOfSeed(seed)),
    nixVersion: '2.34.8',
    jobId: job,
    startedAt: new Date('2026-11-22T19:00:00Z'),
    finishedAt: new Date('2026-11-22T19:01:00Z'),
  })
  return {
    kind: 'build',
    out_path: work.out_path,
    nar_hash: narHash,
    nar_size: narSize,
    closure: { count: 1, nar_size: narSize, sha256 },
    pushed: { paths: 1, bytes: 16 },
    isolation: 'none',
    duration_ms: 1000,
    attestation: signAttestation(statement, seed),
  }
}
