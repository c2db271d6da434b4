import { readFileSync } from 'node:fs'
import { parseSeed, type SecretSeed } from '@crystal-forge/protocol'
import { openDatabase } from '../database.ts'
import { type HttpHandler, httpApi } from '../http-api.ts'
import type { Log } from '../log.ts'
import type { Config } from './config.ts'
import { postClaim } from './post-claim.ts'
import { postEvaluations } from './post-evaluations.ts'
import { postHeartbeat } from './post-heartbeat.ts'
import { postHello } from './post-hello.ts'
import { postResult } from './post-result.ts'

/** Builders ask for work and report what came of it. `close` ends the connections. */
export function app(
  config: Config,
  { log, now = () => new Date() }: { readonly log: Log; readonly now?: () => Date },
): { handler: HttpHandler; close(): Promise<void> } {
  const database = openDatabase(config.database, 'builder-jobs')
  const parts = { database, authority: config.authority, now }
  const signingKey = readSigningKey(config.jobSigningKeyFile)
  const handler = httpApi(
    {
      'POST /v1/builder/hello': postHello(parts, config),
      'POST /v1/builder/claims': postClaim(parts, { leaseS: config.leaseS, signingKey }),
      'POST /v1/builder/jobs/{job}/heartbeat': postHeartbeat(parts, config),
      'POST /v1/builder/jobs/{job}/evaluations': postEvaluations(parts),
      'POST /v1/builder/jobs/{job}/result': postResult(parts),
    },
    log,
  )
  return { handler, close: () => database.end() }
}

function readSigningKey(file: string): SecretSeed {
  const seed = parseSeed(readFileSync(file, 'utf8'))
  if (seed === null)
    throw new Error(
      `JOB_SIGNING_KEY_FILE: ${file} is not the base64 of a 32-byte seed; \`cf keygen\` makes one`,
    )
  return seed
}
