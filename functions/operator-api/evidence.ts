import { listEvents, listFindings } from '@crystal-forge/postgres'
import { instant, line } from '@crystal-forge/protocol'
import * as z from 'zod'
import { type Context, type Endpoints, list } from '../operator-endpoint.ts'
import { filter } from '../operator-query.ts'

/** Findings on running systems, and the entries of the evidence log. */
export function evidenceEndpoints(context: Context): Endpoints {
  return {
    'GET /v1/findings': list(context, FINDING_FILTERS, (database, wanted, page) => {
      const { min_cvss: minCvss, ...filters } = wanted
      return listFindings(database, { ...filters, minCvss }, page)
    }),
    'GET /v1/events': list(context, EVENT_FILTERS, listEvents),
  }
}

const FINDING_FILTERS = {
  system: filter(line(253)),
  environment: filter(line(64)),
  flake: filter(line(64)),
  cve: filter(z.string().regex(/^[A-Z]+-[0-9A-Za-z-]{4,40}$/, 'expected an id such as CVE-2026-12345')),
  package: filter(line(200)),
  min_cvss: filter(
    z
      .string()
      .regex(/^(10(\.0)?|[0-9](\.[0-9])?)$/, 'expected a number from 0 to 10')
      .transform(Number),
  ),
}
const EVENT_FILTERS = {
  type: filter(z.string().regex(/^[a-z_]{1,40}\.[a-z_]{1,40}$/, 'expected a type such as config.changed')),
  since: filter(instant.transform((text) => new Date(text))),
}
