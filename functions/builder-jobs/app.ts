import { parseSeed, type SecretSeed } from '@crystal-forge/protocol'
import { openDatabase } from '../database.ts'
import { type HttpHandler, httpApi } from '../http-api.ts'
import type { Log } from '../log.ts'
import { openRelay } from '../relay-queue.ts'
import { fromFile, type ReadSecret, type SecretSource, whereOf } from '../secret-source.ts'
import type { Config } from './config.ts'
import { postClaim } from './post-claim.ts'
import { postEvaluations } from './post-evaluations.ts'
import { postHeartbeat } from './post-heartbeat.ts'
import { postHello } from './post-hello.ts'
import { postResult } from './post-result.ts'

type Parts = {
  readonly log: Log
  readonly now?: () => Date
  readonly readSecret?: ReadSecret
}

/** Builders ask for work and report what came of it. `close` ends the connections. */
export function app(
  config: Config,
  { log, now = () => new Date(), readSecret = fromFile }: Parts,
): { handler: HttpHandler; close(): Promise<void> } {
  const database = openDatabase(config.database, 'builder-jobs')
  const parts = { database, authority: config.authority, now }
  const signingKey = readSigningKey(config.jobSigningKey, readSecret)
  const relay = openRelay(config.relayQueue, log)
  const handler = httpApi(
    {
      'POST /v1/builder/hello': postHello(parts, config),
      'POST /v1/builder/claims': postClaim(parts, { leaseS: config.leaseS, signingKey }),
      'POST /v1/builder/jobs/{job}/heartbeat': postHeartbeat(parts, config),
      'POST /v1/builder/jobs/{job}/evaluations': relay.after(postEvaluations(parts)),
      'POST /v1/builder/jobs/{job}/result': relay.after(postResult(parts)),
    },
    log,
  )
  const close = async (): Promise<void> => {
    await database.end()
    relay.close()
  }
  return { handler, close }
}

function readSigningKey(source: SecretSource, readSecret: ReadSecret): SecretSeed {
  const seed = parseSeed(readSecret(source))
  if (seed === null)
    throw new Error(`${whereOf(source)} is not the base64 of a 32-byte seed; \`cf keygen\` makes one`)
  return seed
}
