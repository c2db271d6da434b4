import { presignUrl } from './presign.ts'
import { s3Client } from './s3-client.ts'
import type { AwsSettings } from './settings.ts'

/**
 * The account (twelve digits) that these credentials belong to, as STS says. Asks nothing else and needs no permission.
 * @throws {Error} when STS refuses the credentials or does not answer in 10 s.
 */
export async function callerAccount(settings: AwsSettings, endpoint?: string): Promise<string> {
  // Any client has the credentials that the default chain finds.
  const client = s3Client(settings)
  try {
    const credentials = await client.config.credentials()
    const { url } = presignUrl({
      url: new URL(endpoint ?? `https://sts.${settings.region}.amazonaws.com/`),
      method: 'GET',
      service: 'sts',
      query: { Action: 'GetCallerIdentity', Version: '2011-06-15' },
      region: settings.region,
      credentials,
      expiresSeconds: 60,
      now: new Date(),
    })
    const answer = await fetch(url, { signal: AbortSignal.timeout(10_000), redirect: 'error' })
    const account = /<Account>([0-9]{12})<\/Account>/.exec(await answer.text())?.[1]
    if (account === undefined) throw new Error(`STS answered ${answer.status} and named no account`)
    return account
  } finally {
    client.destroy()
  }
}
