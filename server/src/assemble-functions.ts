import { fileURLToPath } from 'node:url'
import { app as agentKeys } from '@crystal-forge/functions/agent-keys/app.ts'
import { readConfig as agentKeysConfig } from '@crystal-forge/functions/agent-keys/config.ts'
import { app as agentReports } from '@crystal-forge/functions/agent-reports/app.ts'
import { readConfig as agentReportsConfig } from '@crystal-forge/functions/agent-reports/config.ts'
import { app as builderCache } from '@crystal-forge/functions/builder-cache/app.ts'
import { readConfig as builderCacheConfig } from '@crystal-forge/functions/builder-cache/config.ts'
import { app as builderJobs } from '@crystal-forge/functions/builder-jobs/app.ts'
import { readConfig as builderJobsConfig } from '@crystal-forge/functions/builder-jobs/config.ts'
import { app as controlsApi } from '@crystal-forge/functions/controls-api/app.ts'
import { readConfig as controlsApiConfig } from '@crystal-forge/functions/controls-api/config.ts'
import type { HttpHandler } from '@crystal-forge/functions/http-api.ts'
import type { Log } from '@crystal-forge/functions/log.ts'
import { app as operatorApi } from '@crystal-forge/functions/operator-api/app.ts'
import { readConfig as operatorApiConfig } from '@crystal-forge/functions/operator-api/config.ts'
import { app as originalWire } from '@crystal-forge/functions/original-wire/app.ts'
import { readConfig as originalWireConfig } from '@crystal-forge/functions/original-wire/config.ts'
import { app as relayOutbox } from '@crystal-forge/functions/relay-outbox/app.ts'
import { readConfig as relayOutboxConfig } from '@crystal-forge/functions/relay-outbox/config.ts'
import type { FunctionName } from '@crystal-forge/functions/routes.ts'
import { app as status } from '@crystal-forge/functions/status/app.ts'
import { readConfig as statusConfig } from '@crystal-forge/functions/status/config.ts'
import { app as sweep } from '@crystal-forge/functions/sweep/app.ts'
import { readConfig as sweepConfig } from '@crystal-forge/functions/sweep/config.ts'
import { app as webhooks } from '@crystal-forge/functions/webhooks/app.ts'
import { readConfig as webhooksConfig } from '@crystal-forge/functions/webhooks/config.ts'
import type { Aws } from './aws.ts'
import type { SecretFiles } from './secret-files.ts'

/** The handlers that AWS would run as Lambdas, in this process. */
export type Functions = {
  readonly http: Readonly<Record<FunctionName, HttpHandler>>
  readonly relayOutbox: () => Promise<unknown>
  readonly sweep: () => Promise<unknown>
  /** Ends their connections. */
  close(): Promise<void>
}

export type Surroundings = {
  /** Variables that say where the database is; each function adds its own role. */
  readonly database: Readonly<Record<string, string>>
  readonly aws: Aws
  readonly secrets: SecretFiles
  readonly authority: string
  readonly nextReportInS: number
  readonly leaseS: number
  readonly log: Log
}

/** Gives every function the variables that `infra/` gives it, and nothing else: each connects as its own role. */
export function assembleFunctions(around: Surroundings): Functions {
  const { log } = around
  const variables = environment(around)
  const parts = { log }
  const apps = {
    'agent-reports': agentReports(agentReportsConfig(variables('cf_ingest', 8)), parts),
    'agent-keys': agentKeys(agentKeysConfig(variables('cf_enroll', 2)), parts),
    'original-wire': originalWire(originalWireConfig(variables('cf_ingest', 4)), parts),
    webhooks: webhooks(webhooksConfig(variables('cf_hooks', 4)), parts),
    'builder-jobs': builderJobs(builderJobsConfig(variables('cf_builders', 8)), parts),
    'builder-cache': builderCache(builderCacheConfig(variables('cf_cache', 4)), parts),
    'operator-api': operatorApi(operatorApiConfig(variables('cf_operators', 8)), parts),
    'controls-api': controlsApi(controlsApiConfig(variables('cf_controls', 4)), {
      ...parts,
      catalogue: CATALOGUE,
    }),
    status: status(statusConfig(variables('cf_status', 2)), parts),
  }
  const relay = relayOutbox(relayOutboxConfig(variables('cf_scheduler', 2)), parts)
  const sweeper = sweep(sweepConfig(variables('cf_scheduler', 2)), parts)
  return {
    http: {
      'agent-reports': apps['agent-reports'].handler,
      'agent-keys': apps['agent-keys'].handler,
      'original-wire': apps['original-wire'].handler,
      webhooks: apps.webhooks.handler,
      'builder-jobs': apps['builder-jobs'].handler,
      'builder-cache': apps['builder-cache'].handler,
      'operator-api': apps['operator-api'].handler,
      'controls-api': apps['controls-api'].handler,
      status: apps.status.handler,
    },
    relayOutbox: relay.handler,
    sweep: sweeper.handler,
    close: async () => {
      await Promise.all([...Object.values(apps), relay, sweeper].map((each) => each.close()))
    },
  }
}

function environment(around: Surroundings): (role: string, connections: number) => Record<string, string> {
  const { aws, secrets } = around
  return (role, connections) => ({
    ...around.database,
    DATABASE_USER: role,
    DATABASE_CONNECTIONS: String(connections),
    PUBLIC_AUTHORITY: around.authority,
    NEXT_REPORT_IN_S: String(around.nextReportInS),
    LEASE_S: String(around.leaseS),
    SEALING_KEY_FILE: secrets.sealingKeyFile,
    JOB_SIGNING_KEY_FILE: secrets.jobSigningKeyFile,
    NARINFO_KEY_FILE: secrets.narinfoKeyFile,
    EXPORT_SIGNING_KEY_FILE: secrets.exportSigningKeyFile,
    CACHE_BUCKET: aws.bucket,
    AWS_REGION: aws.region,
    AWS_ENDPOINT_URL: aws.endpoint,
    QUEUE_URL_RESOLVE: aws.queues.resolve,
    QUEUE_URL_EVALUATE: aws.queues.evaluate,
    QUEUE_URL_BUILD: aws.queues.build,
    QUEUE_URL_SCAN: aws.queues.scan,
    ...(aws.deadLetters === undefined
      ? {}
      : {
          DLQ_URL_RESOLVE: aws.deadLetters.resolve,
          DLQ_URL_EVALUATE: aws.deadLetters.evaluate,
          DLQ_URL_BUILD: aws.deadLetters.build,
          DLQ_URL_SCAN: aws.deadLetters.scan,
        }),
  })
}

/** Beside the sources and beside the bundle alike. */
const CATALOGUE = fileURLToPath(new URL('../../catalogue', import.meta.url))
