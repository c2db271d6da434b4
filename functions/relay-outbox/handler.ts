import { jsonLog } from '../log.ts'
import type { ScheduledHandler } from '../schedule.ts'
import { app } from './app.ts'
import { readConfig } from './config.ts'
import { COUNTED, type Relayed } from './relay.ts'

export const handler: ScheduledHandler<Relayed> = app(readConfig(process.env), {
  log: jsonLog('relay-outbox', { metrics: COUNTED, deployedAs: process.env['AWS_LAMBDA_FUNCTION_NAME'] }),
}).handler
