import * as z from 'zod'
import { hexOfHash } from './nix-hash.ts'

/** What a builder did: the facts that an in-toto statement carries as SLSA provenance v1. */
export type BuildFacts = {
  readonly repository: string
  readonly revision: string
  readonly attribute: string
  readonly drvPath: string
  readonly outputs: readonly { readonly path: string; readonly narHash: string }[]
  /** Hex SHA-256 of the closure digest lines. */
  readonly closureSha256: string
  readonly builderKeyId: string
  readonly nixVersion: string
  readonly jobId: string
  readonly startedAt: Date
  readonly finishedAt: Date
}

export type BuildStatement = z.output<typeof buildStatement>

/** @throws RangeError when a NAR hash is not a SHA-256. */
export function buildStatementOf(facts: BuildFacts): BuildStatement {
  return buildStatement.parse({
    _type: STATEMENT_TYPE,
    subject: facts.outputs.map(({ path, narHash }) => ({
      name: path,
      digest: { nixNarSha256: hexOfHash(narHash) },
    })),
    predicateType: PREDICATE_TYPE,
    predicate: {
      buildDefinition: {
        buildType: BUILD_TYPE,
        externalParameters: {
          repository: facts.repository,
          revision: facts.revision,
          attribute: facts.attribute,
        },
        internalParameters: { drvPath: facts.drvPath, closureSha256: facts.closureSha256 },
        resolvedDependencies: [{ uri: `git+${facts.repository}`, digest: { gitCommit: facts.revision } }],
      },
      runDetails: {
        builder: { id: `${BUILDER_ID}${facts.builderKeyId}`, version: { nix: facts.nixVersion } },
        metadata: {
          invocationId: facts.jobId,
          startedOn: facts.startedAt.toISOString(),
          finishedOn: facts.finishedAt.toISOString(),
        },
      },
    },
  })
}

/** Reads a statement that a builder signed; null when it is another kind of statement. */
export function parseBuildStatement(value: unknown): BuildStatement | null {
  const parsed = buildStatement.safeParse(value)
  return parsed.success ? parsed.data : null
}

const STATEMENT_TYPE = 'https://in-toto.io/Statement/v1'
const PREDICATE_TYPE = 'https://slsa.dev/provenance/v1'
const BUILD_TYPE = 'https://crystalforge.dev/nix-build/v1'
const BUILDER_ID = 'https://crystalforge.dev/builder/'

const text = z.string().min(1).max(2000)
const buildStatement = z.strictObject({
  _type: z.literal(STATEMENT_TYPE),
  subject: z
    .array(
      z.strictObject({
        name: text,
        digest: z.strictObject({ nixNarSha256: z.string().regex(/^[0-9a-f]{64}$/) }),
      }),
    )
    .min(1)
    .max(64),
  predicateType: z.literal(PREDICATE_TYPE),
  predicate: z.strictObject({
    buildDefinition: z.strictObject({
      buildType: z.literal(BUILD_TYPE),
      externalParameters: z.strictObject({ repository: text, revision: text, attribute: text }),
      internalParameters: z.strictObject({
        drvPath: text,
        closureSha256: z.string().regex(/^[0-9a-f]{64}$/),
      }),
      resolvedDependencies: z
        .array(z.strictObject({ uri: text, digest: z.strictObject({ gitCommit: text }) }))
        .max(64),
    }),
    runDetails: z.strictObject({
      builder: z.strictObject({ id: text, version: z.strictObject({ nix: text }) }),
      metadata: z.strictObject({ invocationId: text, startedOn: text, finishedOn: text }),
    }),
  }),
})
