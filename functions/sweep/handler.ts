import { jsonLog } from '../log.ts'
import type { ScheduledHandler } from '../schedule.ts'
import { app } from './app.ts'
import { readConfig } from './config.ts'
import type { Swept } from './sweep.ts'
import { WATCHED } from './watch.ts'

export const handler: ScheduledHandler<Swept> = app(readConfig(process.env), {
  log: jsonLog('sweep', {
    metrics: ['expired', 'hinted', 'polled', 'rescanned', 'published', 'failed', ...WATCHED],
  }),
}).handler
