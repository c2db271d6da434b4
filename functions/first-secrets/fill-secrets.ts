import { randomBytes } from 'node:crypto'
import type { Secrets } from '@crystal-forge/aws'
import {
  encodeBase64,
  generateKeyPair,
  renderCachePublicKey,
  renderCacheSecretKey,
  renderPublicKey,
  renderSeed,
} from '@crystal-forge/protocol'
import type { Log } from '../log.ts'
import type { Config } from './config.ts'

/** How many secrets got their first value. */
export type Filled = { readonly filled: number }

/**
 * Gives each secret that never had a value its first one. The public halves, which builders, hosts and auditors pin, are
 * logged when they are made, and only then: this function cannot read what it wrote.
 */
export async function fillSecrets(
  secrets: Pick<Secrets, 'fillOnce'>,
  config: Omit<Config, 'region'>,
  log: Log,
): Promise<Filled> {
  const job = generateKeyPair()
  const exports = generateKeyPair()
  const cache = { name: config.cacheKeyName, seed: generateKeyPair().seed }
  const wanted = [
    { arn: config.sealingKeyArn, make: () => encodeBase64(randomBytes(32)) },
    {
      arn: config.jobSigningKeyArn,
      make: () => renderSeed(job.seed),
      said: { job_public_key: renderPublicKey(job.publicKey) },
    },
    {
      arn: config.exportSigningKeyArn,
      make: () => renderSeed(exports.seed),
      said: { export_public_key: renderPublicKey(exports.publicKey) },
    },
    {
      arn: config.narinfoKeyArn,
      make: () => renderCacheSecretKey(cache),
      said: { cache_public_key: renderCachePublicKey(cache) },
    },
  ]
  let filled = 0
  for (const { arn, make, said = {} } of wanted) {
    if ((await secrets.fillOnce(arn, make)) === 'kept') continue
    filled++
    log('info', 'a secret got its first value', { arn, ...said })
  }
  return { filled }
}
