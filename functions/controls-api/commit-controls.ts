import { type Catalogue, type ConfigurationChange, configurationChanges } from '@crystal-forge/control-plane'
import { type CommitReport, listCommitReports, showCommit } from '@crystal-forge/postgres'
import { line } from '@crystal-forge/protocol'
import {
  type Context,
  type Endpoints,
  inTenant,
  list,
  type OperatorEndpoint,
  parameter,
  unknown,
} from '../operator-endpoint.ts'
import { filter } from '../operator-query.ts'

/** What a commit does to the controls of the configurations that it evaluates to. */
export function commitControlEndpoints(context: Context, catalogue: () => Catalogue): Endpoints {
  return { 'GET /v1/commits/{commit}/controls': commitControls(context, catalogue) }
}

function commitControls(context: Context, catalogue: () => Catalogue): OperatorEndpoint {
  return async (call) => {
    const name = parameter(call.request, 'commit')
    const commit = await inTenant(context, call.operator, (database) => showCommit(database, name))
    if (commit === null) return unknown('commit', name)
    return await list(
      context,
      { configuration: filter(line(128)) },
      async (database, { configuration }, page) => {
        const { items, next } = await listCommitReports(database, { commit: commit.id, configuration }, page)
        const { flake, rev } = commit
        return { items: items.map((report) => itemOf(catalogue(), report)), next, flake, rev }
      },
    )(call)
  }
}

function itemOf(catalogue: Catalogue, { configuration, after, before }: CommitReport): object {
  const changes = configurationChanges(catalogue, before?.evaluation ?? null, after)
  return {
    configuration,
    evaluation: after.id,
    release: after.report.release,
    before:
      before === null
        ? null
        : { rev: before.rev, evaluation: before.evaluation.id, release: before.evaluation.report.release },
    opened: changes.opened.map(changeItem),
    closed: changes.closed.map(changeItem),
    changed: changes.changed.map(changeItem),
  }
}

function changeItem({ definedIn, ...change }: ConfigurationChange): object {
  return { ...change, defined_in: definedIn }
}
