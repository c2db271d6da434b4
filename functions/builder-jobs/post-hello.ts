import { greetBuilder } from '@crystal-forge/postgres'
import { type BuilderHelloAnswer, builderHello } from '@crystal-forge/protocol'
import { type BuilderParts, builderCall } from '../builder-call.ts'
import type { Endpoint } from '../http-api.ts'
import type { Config } from './config.ts'

/** `POST /v1/builder/hello`: what the builder can do, and where queues and cache are. */
export function postHello(
  parts: BuilderParts,
  config: Pick<Config, 'queues' | 'cacheBucket' | 'region' | 'leaseS'>,
): Endpoint {
  return builderCall(parts, builderHello, async ({ transaction, builder, body }) => {
    await greetBuilder(transaction, builder.builder, body)
    const answer: BuilderHelloAnswer = {
      builder: builder.builder,
      name: builder.name,
      queues: config.queues,
      cache: { bucket: config.cacheBucket, prefix: builder.tenant, region: config.region },
      lease_s: config.leaseS,
      server_time: parts.now().toISOString(),
    }
    return { status: 200, body: answer }
  })
}
