import { jsonLog } from '../log.ts'
import { app, type DeployHandler } from './app.ts'
import { readConfig } from './config.ts'

export const handler: DeployHandler = app(readConfig(process.env), { log: jsonLog('first-secrets') }).handler
