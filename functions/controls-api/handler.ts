import { join } from 'node:path'
import type { HttpHandler } from '../http-api.ts'
import { jsonLog } from '../log.ts'
import { app } from './app.ts'
import { readConfig } from './config.ts'

export const handler: HttpHandler = app(readConfig(process.env), {
  log: jsonLog('controls-api'),
  // The build lays the benchmark beside the bundle.
  catalogue: join(import.meta.dirname, 'catalogue'),
}).handler
