import { jsonLog } from '../log.ts'
import type { ScheduledHandler } from '../schedule.ts'
import { app } from './app.ts'
import { readConfig } from './config.ts'
import { COUNTED, type Swept } from './sweep.ts'
import { WATCHED } from './watch.ts'

export const handler: ScheduledHandler<Swept> = app(readConfig(process.env), {
  log: jsonLog('sweep', {
    metrics: [...COUNTED, ...WATCHED],
    deployedAs: process.env['AWS_LAMBDA_FUNCTION_NAME'],
  }),
}).handler
