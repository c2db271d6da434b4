import { CreateMultipartUploadCommand, ListPartsCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import {
  DescribeSecretCommand,
  PutSecretValueCommand,
  type SecretsManagerClient,
} from '@aws-sdk/client-secrets-manager'
import { ListDeadLetterSourceQueuesCommand } from '@aws-sdk/client-sqs'
import { type AwsClients, awsClients, bucket } from '@crystal-forge/aws'
import type { TestContext } from 'vitest'
import type { Naming } from './naming.ts'

/** What a stand-in may lack; each is tried out before the tests. */
export type Capabilities = Readonly<Record<Capability, boolean>>
export type Capability = (typeof CAPABILITIES)[number]
export const CAPABILITIES = [
  'conditionalWrites',
  'checksums',
  'presignedExpiry',
  'anonymousReads',
  'abortedPolls',
  'listParts',
  'deadLetterSources',
  'signatures',
  'secrets',
  'emptySecrets',
  'secretVersionsOnce',
] as const

/** Ends the test as skipped when the target cannot do it; the reason is in the list after the run. */
export function needs(
  context: TestContext,
  target: { readonly name: string; readonly can: Capabilities },
  ...wanted: Capability[]
): void {
  const missing = wanted.find((one) => !target.can[one])
  if (missing !== undefined) context.skip(`${target.name} lacks ${missing} (${MEANING[missing]})`)
}

type Probing = {
  readonly clients: AwsClients
  readonly secrets: SecretsManagerClient
  readonly make: Naming
  readonly endpoint: string | undefined
}

export async function probe(parts: Probing): Promise<Capabilities> {
  const name = await parts.make.bucket()
  const found: Partial<Record<Capability, boolean>> = {}
  for (const one of CAPABILITIES) found[one] = await PROBES[one](parts, name)
  const { conditionalWrites, checksums, presignedExpiry, anonymousReads } = found
  return {
    conditionalWrites: conditionalWrites === true,
    checksums: checksums === true,
    presignedExpiry: presignedExpiry === true,
    anonymousReads: anonymousReads === true,
    abortedPolls: found.abortedPolls === true,
    listParts: found.listParts === true,
    deadLetterSources: found.deadLetterSources === true,
    signatures: found.signatures === true,
    secrets: found.secrets === true,
    emptySecrets: found.emptySecrets === true,
    secretVersionsOnce: found.secretVersionsOnce === true,
  }
}

type Probe = (parts: Probing, bucketName: string) => Promise<boolean>

const PROBES: Readonly<Record<Capability, Probe>> = {
  conditionalWrites: async ({ clients }, name) => {
    const objects = bucket(clients.s3, name)
    await objects.putIfAbsent('once', Buffer.from('1'))
    return (await objects.putIfAbsent('once', Buffer.from('2'))) === 'exists'
  },
  checksums: async ({ clients }, Bucket) => {
    const wrong = Buffer.alloc(32).toString('base64')
    const put = new PutObjectCommand({ Bucket, Key: 'wrong', Body: 'x', ChecksumSHA256: wrong })
    return refused(clients.s3.send(put))
  },
  presignedExpiry: async ({ clients }, name) => {
    const objects = bucket(clients.s3, name)
    const past = new Date(Date.now() - 120_000)
    const url = await objects.presignGet('once', { expiresSeconds: 60, now: past })
    return (await fetch(url)).status === 403
  },
  anonymousReads: async ({ endpoint }, name) =>
    endpoint !== undefined && (await fetch(`${endpoint}/${name}/once`)).status === 200,
  // A stand-in whose polls look again every now and then takes the message only sometimes.
  abortedPolls: async ({ make }) => {
    const rounds = await Promise.all(Array.from({ length: 8 }, () => keepsFromBrokenPoll(make)))
    return rounds.every((kept) => kept)
  },
  listParts: async ({ clients }, Bucket) => {
    const { UploadId = '' } = await clients.s3.send(
      new CreateMultipartUploadCommand({ Bucket, Key: 'parts' }),
    )
    return !(await refused(clients.s3.send(new ListPartsCommand({ Bucket, Key: 'parts', UploadId }))))
  },
  deadLetterSources: async ({ clients, make }) => {
    const { dead } = await make.withDeadLetters(2)
    const ask = new ListDeadLetterSourceQueuesCommand({ QueueUrl: dead.url })
    return !(await refused(clients.sqs.send(ask)))
  },
  secrets: async ({ make }) => !(await refused(make.secret())),
  emptySecrets: async ({ secrets, make }) => {
    const SecretId = await make.secret().catch(() => undefined)
    if (SecretId === undefined) return false
    const { VersionIdsToStages = {} } = await secrets.send(new DescribeSecretCommand({ SecretId }))
    return Object.keys(VersionIdsToStages).length === 0
  },
  secretVersionsOnce: async ({ secrets, make }) => {
    const SecretId = await make.secret().catch(() => undefined)
    if (SecretId === undefined) return false
    const put = (SecretString: string) =>
      secrets.send(new PutSecretValueCommand({ SecretId, ClientRequestToken: 'v'.repeat(32), SecretString }))
    await put('first')
    return refused(put('second'))
  },
  signatures: async ({ clients, endpoint }, name) => {
    const [region, own] = await Promise.all([clients.s3.config.region(), clients.s3.config.credentials()])
    const credentials = { ...own, secretAccessKey: 'not the secret of this key' }
    const where = endpoint === undefined ? {} : { endpoint: { s3: endpoint, sqs: endpoint } }
    const { s3 } = awsClients({ region, credentials, ...where })
    try {
      return await refused(bucket(s3, name).list(''))
    } finally {
      s3.destroy()
    }
  },
}

async function keepsFromBrokenPoll(make: Naming): Promise<boolean> {
  const queue = await make.queue()
  const stop = new AbortController()
  const broken = queue.receive({ waitSeconds: 20, signal: stop.signal })
  setTimeout(() => stop.abort(), 200)
  await broken
  await queue.send([{ body: 'kept' }])
  return (await queue.receive({ waitSeconds: 2 })).length === 1
}

function refused(call: Promise<unknown>): Promise<boolean> {
  return call.then(
    () => false,
    () => true,
  )
}

const MEANING: Readonly<Record<Capability, string>> = {
  conditionalWrites: 'If-None-Match',
  checksums: 'x-amz-checksum-sha256 is held against the body',
  presignedExpiry: 'presigned URLs end',
  anonymousReads: 'objects can be read without credentials',
  abortedPolls: 'a receive that was broken off takes no message',
  listParts: 'ListParts',
  deadLetterSources: 'ListDeadLetterSourceQueues',
  signatures: 'a wrong signature is refused',
  secrets: 'Secrets Manager',
  emptySecrets: 'a secret that never had a value has no version',
  secretVersionsOnce: 'a version of a secret keeps its value',
}
