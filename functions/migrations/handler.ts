import { join } from 'node:path'
import { readMigrations } from '@crystal-forge/postgres'
import { jsonLog } from '../log.ts'
import { fetchSecrets } from '../secret-source.ts'
import { app, type DeployHandler } from './app.ts'
import { readConfig } from './config.ts'

const config = readConfig(process.env)

export const handler: DeployHandler = app(config, {
  log: jsonLog('migrations'),
  // The build lays the SQL beside the bundle.
  migrations: await readMigrations(join(import.meta.dirname, 'migrations')),
  readSecret: await fetchSecrets([config.master]),
}).handler
