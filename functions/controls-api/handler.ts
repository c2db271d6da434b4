import { join } from 'node:path'
import type { HttpHandler } from '../http-api.ts'
import { jsonLog } from '../log.ts'
import { fetchSecrets } from '../secret-source.ts'
import { app } from './app.ts'
import { readConfig } from './config.ts'

const config = readConfig(process.env)

export const handler: HttpHandler = app(config, {
  log: jsonLog('controls-api'),
  // The build lays the benchmark beside the bundle.
  catalogue: join(import.meta.dirname, 'catalogue'),
  readSecret: await fetchSecrets([config.exportSigningKey]),
}).handler
