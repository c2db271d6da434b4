import { agentReports, controlFactsStore, findSystemKey, Overloaded } from '@crystal-forge/postgres'
import { openDatabase } from '../database.ts'
import { type Endpoint, type HttpHandler, httpApi, problem } from '../http-api.ts'
import type { Log } from '../log.ts'
import type { Config } from './config.ts'
import { knownKeys } from './known-keys.ts'
import { postControlFacts } from './post-control-facts.ts'
import { postReport } from './post-report.ts'

/** The reports of hosts, and the facts that their controls are judged by. `close` ends the connections. */
export function app(
  config: Config,
  { log, now = () => new Date() }: { readonly log: Log; readonly now?: () => Date },
): { handler: HttpHandler; close(): Promise<void> } {
  const { authority, nextReportInS } = config
  const database = openDatabase(config.database, 'agent-reports')
  const keys = knownKeys((keyId) => findSystemKey(database, keyId))
  const report = postReport({ authority, nextReportInS, keys, reports: agentReports(database), now })
  const facts = postControlFacts({ authority, keys, store: controlFactsStore(database), now })
  const endpoints = {
    'POST /v1/agent/reports': turnAwayWhenBusy(report),
    'POST /v1/agent/control-facts': facts,
  }
  const handler = httpApi(endpoints, log)
  return { handler, close: () => database.end() }
}

function turnAwayWhenBusy(endpoint: Endpoint): Endpoint {
  return async (request) => {
    try {
      return await endpoint(request)
    } catch (error) {
      if (!(error instanceof Overloaded)) throw error
      return problem(503, 'busy', 'too many reports at once; send it again later', {
        headers: { 'retry-after': '10' },
      })
    }
  }
}
