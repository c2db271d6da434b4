import type { HttpHandler } from '../http-api.ts'
import { jsonLog } from '../log.ts'
import { app } from './app.ts'
import { readConfig } from './config.ts'

export const handler: HttpHandler = app(readConfig(process.env), { log: jsonLog('original-wire') }).handler
