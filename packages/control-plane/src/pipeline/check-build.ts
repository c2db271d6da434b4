import {
  hexOfHash,
  parseBuildStatement,
  parseStrictJson,
  type Succeeded,
  verifyAttestation,
} from '@crystal-forge/protocol'
import type { BuilderPrincipal } from '../principals.ts'

type BuildSucceeded = Extract<Succeeded, { kind: 'build' }>

/** What the evaluation and the cache say about the derivation that was built. */
export type ExpectedBuild = {
  readonly job: string
  readonly drvPath: string
  readonly outPath: string
  /** SRI hash of the path that the cache holds, or of an earlier build; null when there is none. */
  readonly narHash: string | null
  /** Digest of the committed closure; null when the cache does not hold it. */
  readonly closureSha256: string | null
}

export type CheckedBuild =
  | { readonly kind: 'good'; readonly statement: Uint8Array }
  /** The message itself cannot be trusted: it changes nothing. */
  | { readonly kind: 'refused'; readonly because: string }
  /** The build is another one than was evaluated: that is its verdict. */
  | { readonly kind: 'mismatch'; readonly because: string }

/**
 * Holds a build's result against its attestation (in-toto statement with SLSA provenance v1, signed by the key of the builder that
 * reports) and against what is expected.
 */
export function checkBuild(
  build: BuildSucceeded,
  expected: ExpectedBuild,
  builder: BuilderPrincipal,
): CheckedBuild {
  const verified = verifyAttestation(build.attestation, [
    { keyId: builder.keyId, publicKey: builder.publicKey, role: 'builder', person: builder.builder },
  ])
  if (!verified.ok) return { kind: 'refused', because: `attestation: ${verified.code.replaceAll('_', ' ')}` }
  const attested = differenceOfStatement(verified.payload, build, expected, builder)
  if (attested !== null) return { kind: 'refused', because: `attestation: ${attested}` }
  const mismatch = differenceOfBuild(build, expected)
  return mismatch === null
    ? { kind: 'good', statement: verified.payload }
    : { kind: 'mismatch', because: mismatch }
}

function differenceOfStatement(
  payload: Uint8Array,
  build: BuildSucceeded,
  expected: ExpectedBuild,
  builder: BuilderPrincipal,
): string | null {
  const statement = parseBuildStatement(readJson(payload))
  if (statement === null) return 'the payload is not a build statement of in-toto v1 with SLSA provenance v1'
  const { internalParameters } = statement.predicate.buildDefinition
  const { builder: by, metadata } = statement.predicate.runDetails
  const digest = statement.subject.find(({ name }) => name === build.out_path)?.digest.nixNarSha256
  if (digest === undefined) return `no subject is named ${build.out_path}`
  if (digest !== hexOfHash(build.nar_hash)) return 'the subject has another NAR hash than the result'
  if (internalParameters.drvPath !== expected.drvPath) return `drvPath is not ${expected.drvPath}`
  if (internalParameters.closureSha256 !== build.closure.sha256)
    return 'closureSha256 is another than the result says'
  if (metadata.invocationId !== expected.job) return `invocationId is not ${expected.job}`
  if (!by.id.endsWith(`/${builder.keyId}`)) return `builder.id does not end with ${builder.keyId}`
  return null
}

function differenceOfBuild(build: BuildSucceeded, expected: ExpectedBuild): string | null {
  if (build.out_path !== expected.outPath)
    return `the evaluation says ${expected.outPath}, the build made ${build.out_path}`
  if (expected.narHash !== null && expected.narHash !== build.nar_hash)
    return `${build.out_path} is known with the NAR hash ${expected.narHash}; this build has ${build.nar_hash}: the build is not reproducible`
  if (expected.closureSha256 !== null && expected.closureSha256 !== build.closure.sha256)
    return `the cache holds the closure ${expected.closureSha256}; this build has ${build.closure.sha256}`
  return null
}

function readJson(payload: Uint8Array): unknown {
  try {
    return parseStrictJson(payload)
  } catch {
    return null
  }
}
