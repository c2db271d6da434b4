import { enrolments, findEnrolToken, findKeyToReplace, rotations } from '@crystal-forge/postgres'
import { openDatabase } from '../database.ts'
import { type HttpHandler, httpApi } from '../http-api.ts'
import type { Log } from '../log.ts'
import type { Config } from './config.ts'
import { enrol } from './enrol.ts'
import { rotate } from './rotate.ts'

/** How hosts get their keys. `close` ends the connections. */
export function app(
  config: Config,
  { log, now = () => new Date() }: { readonly log: Log; readonly now?: () => Date },
): { handler: HttpHandler; close(): Promise<void> } {
  const { authority } = config
  const database = openDatabase(config.database, 'agent-keys')
  const handler = httpApi(
    {
      'POST /v1/enroll': enrol({
        authority,
        now,
        findToken: (keyId) => findEnrolToken(database, keyId),
        enrolments: enrolments(database),
      }),
      'POST /v1/agent/keys': rotate({
        authority,
        now,
        findKeyToReplace: (oldKeyId, newKeyId) => findKeyToReplace(database, oldKeyId, newKeyId),
        rotations: rotations(database),
      }),
    },
    log,
  )
  return { handler, close: () => database.end() }
}
