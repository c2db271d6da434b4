import type { HttpHandler } from '../http-api.ts'
import { jsonLog } from '../log.ts'
import { fetchSecrets } from '../secret-source.ts'
import { app } from './app.ts'
import { readConfig } from './config.ts'

const config = readConfig(process.env)

export const handler: HttpHandler = app(config, {
  log: jsonLog('operator-api'),
  readSecret: await fetchSecrets([config.sealingKey]),
}).handler
