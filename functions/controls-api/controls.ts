import { type Catalogue, CONTROL_STATES } from '@crystal-forge/control-plane'
import { line } from '@crystal-forge/protocol'
import * as z from 'zod'
import { problem, type Reply } from '../http-api.ts'
import {
  type Context,
  type Endpoints,
  inTenant,
  list,
  type OperatorEndpoint,
  parameter,
  unknown,
} from '../operator-endpoint.ts'
import { filter, paged, readQuery } from '../operator-query.ts'
import { AS_OF, assessHosts, controlItem, readQuestion, scoreItem } from './assessment.ts'

/** Results of rules. Everything is computed for the time that is asked about. */
export function controlEndpoints(context: Context, catalogue: () => Catalogue): Endpoints {
  return {
    'GET /v1/controls': controls(context, catalogue),
    'GET /v1/systems/{system}/controls': systemControls(context, catalogue),
  }
}

const RULE = z.string().regex(/^V-[0-9]{6}$/, 'expected a rule such as V-268078')
const CONTROL_FILTERS = {
  system: filter(line(253)),
  rule: filter(RULE),
  state: filter(z.enum(CONTROL_STATES)),
  ...AS_OF,
}

/** Hosts in the order of their names, rules inside; a page may hold few entries and still have a next one. */
function controls(context: Context, catalogue: () => Catalogue): OperatorEndpoint {
  return async (call) => {
    const query = paged(call.request.rawQuery, CONTROL_FILTERS)
    if (!query.ok) return query.reply
    const read = readQuestion(context, catalogue(), query.filter)
    if (!read.ok) return read.reply
    const { rule, system } = query.filter
    if (rule !== null && !catalogue().rules.has(rule)) return unknownRule(rule)
    if (system !== null) {
      const known = await inTenant(context, call.operator, (database) =>
        assessHosts(database, catalogue(), { ...read.question, choice: { kind: 'one', name: system } }),
      )
      if (known.hosts.length === 0) return unknown('system', system)
    }
    return await list(context, CONTROL_FILTERS, async (database, wanted, page) => {
      const matches = (result: { rule: string; state: string }): boolean =>
        (wanted.rule === null || result.rule === wanted.rule) &&
        (wanted.state === null || result.state === wanted.state)
      const [afterHost = null, afterRule = ''] = page.after?.split(' ') ?? []
      const choice =
        wanted.system === null
          ? ({ kind: 'from', hostname: afterHost, most: HOSTS_A_PAGE + 1 } as const)
          : ({ kind: 'one', name: wanted.system } as const)
      const { hosts } = await assessHosts(database, catalogue(), { ...read.question, choice })
      const rows = hosts
        .slice(0, HOSTS_A_PAGE)
        .flatMap((host) =>
          host.controls
            .filter((result) => matches(result) && (host.hostname !== afterHost || result.rule > afterRule))
            .map((result) => ({ key: `${host.hostname} ${result.rule}`, item: controlItem(host, result) })),
        )
      const items = rows.slice(0, page.limit)
      const last = hosts[HOSTS_A_PAGE - 1]
      const next =
        rows.length > page.limit
          ? (items.at(-1)?.key ?? null)
          : hosts.length > HOSTS_A_PAGE && last !== undefined
            ? `${last.hostname} V-999999`
            : null
      return {
        items: items.map(({ item }) => item),
        next,
        as_of: read.question.at,
        release: read.question.release,
      }
    })(call)
  }
}

function systemControls(context: Context, catalogue: () => Catalogue): OperatorEndpoint {
  return async ({ request, operator }) => {
    const query = readQuery(request.rawQuery, AS_OF)
    if (!query.ok) return query.reply
    const read = readQuestion(context, catalogue(), query.filter)
    if (!read.ok) return read.reply
    const name = parameter(request, 'system')
    const snapshot = await inTenant(context, operator, (database) =>
      assessHosts(database, catalogue(), { ...read.question, choice: { kind: 'one', name } }),
    )
    const [host] = snapshot.hosts
    if (host === undefined) return unknown('system', name)
    return {
      status: 200,
      body: {
        system: host.system,
        hostname: host.hostname,
        as_of: snapshot.at,
        release: snapshot.release.id,
        catalogue_sha256: snapshot.catalogueSha256,
        running:
          host.running === null
            ? null
            : {
                current_path: host.running.current,
                booted_path: host.running.booted,
                stig_report_sha256: host.running.reportSha256,
                collected_at: host.running.at,
              },
        evaluation: host.evaluation,
        ...scoreItem(host.score),
        waiver_claims: host.claims,
        items: host.controls.map((result) => controlItem(host, result)),
        next_cursor: null,
      },
    }
  }
}

/** The answer for a rule that the benchmark does not have. */
export function unknownRule(rule: string): Reply {
  return problem(422, 'unknown_rule', `rule is ${JSON.stringify(rule)}, which the catalogue does not have`)
}

/** Each brings some hundred kilobytes of facts and reports. */
const HOSTS_A_PAGE = 20
