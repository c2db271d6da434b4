import { type Environment, EnvironmentReader } from '../environment.ts'

export type Config = {
  readonly region: string
  readonly sealingKeyArn: string
  readonly jobSigningKeyArn: string
  readonly narinfoKeyArn: string
  readonly exportSigningKeyArn: string
  /** The name in front of the cache's public key, such as `cache.example.com-1`. */
  readonly cacheKeyName: string
}

/** What `infra/` sets; a name that is missing there does not compile. */
export const VARIABLES = [
  'SEALING_KEY_SECRET_ARN',
  'JOB_SIGNING_KEY_SECRET_ARN',
  'NARINFO_KEY_SECRET_ARN',
  'EXPORT_SIGNING_KEY_SECRET_ARN',
  'CACHE_KEY_NAME',
] as const

/** @throws {Error} naming every variable that is missing or wrong. */
export function readConfig(environment: Environment): Config {
  const reader = new EnvironmentReader(environment)
  const config = {
    region: reader.text('AWS_REGION'),
    sealingKeyArn: reader.text('SEALING_KEY_SECRET_ARN'),
    jobSigningKeyArn: reader.text('JOB_SIGNING_KEY_SECRET_ARN'),
    narinfoKeyArn: reader.text('NARINFO_KEY_SECRET_ARN'),
    exportSigningKeyArn: reader.text('EXPORT_SIGNING_KEY_SECRET_ARN'),
    cacheKeyName: reader.text('CACHE_KEY_NAME'),
  }
  reader.done()
  return config
}
