import { listBuilders, listEnvironments, showBuilder } from '@crystal-forge/postgres'
import { type Context, type Endpoints, list, show } from '../operator-endpoint.ts'
import { filter, yesNo } from '../operator-query.ts'

/** Machines that take jobs, and the environments that hosts are grouped by. */
export function builderEndpoints(context: Context): Endpoints {
  return {
    'GET /v1/builders': list(context, { active: filter(yesNo) }, listBuilders),
    'GET /v1/builders/{builder}': show(context, 'builder', showBuilder),
    'GET /v1/environments': list(context, {}, (database, _, page) => listEnvironments(database, page)),
  }
}
