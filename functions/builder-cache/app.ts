import { bucket, s3Client } from '@crystal-forge/aws'
import { type CacheSecretKey, parseCacheSecretKey } from '@crystal-forge/protocol'
import { openDatabase } from '../database.ts'
import { type HttpHandler, httpApi } from '../http-api.ts'
import type { Log } from '../log.ts'
import { narinfoPublisher } from '../narinfo-publisher.ts'
import { fromFile, type ReadSecret, type SecretSource, whereOf } from '../secret-source.ts'
import type { Config } from './config.ts'
import { postCommit } from './post-commit.ts'
import { postMissing } from './post-missing.ts'

type Parts = {
  readonly log: Log
  readonly now?: () => Date
  readonly readSecret?: ReadSecret
}

/** Builders fill the cache; the control plane signs and publishes. `close` ends the connections. */
export function app(
  config: Config,
  { log, now = () => new Date(), readSecret = fromFile }: Parts,
): { handler: HttpHandler; close(): Promise<void> } {
  const database = openDatabase(config.database, 'builder-cache')
  const client = s3Client(config.aws)
  const cache = bucket(client, config.cacheBucket)
  const parts = { database, authority: config.authority, now }
  const signingKey = readNarinfoKey(config.narinfoKey, readSecret)
  const handler = httpApi(
    {
      'POST /v1/builder/cache/missing': postMissing(parts),
      'POST /v1/builder/cache/commit': postCommit(parts, {
        objects: cache,
        signingKey,
        publish: narinfoPublisher(cache),
      }),
    },
    log,
  )
  const close = async (): Promise<void> => {
    await database.end()
    client.destroy()
  }
  return { handler, close }
}

function readNarinfoKey(source: SecretSource, readSecret: ReadSecret): CacheSecretKey {
  const key = parseCacheSecretKey(readSecret(source))
  if (key === null)
    throw new Error(
      `${whereOf(source)} is not a secret key of Nix (name:base64); \`nix key generate-secret\` makes one`,
    )
  return key
}
