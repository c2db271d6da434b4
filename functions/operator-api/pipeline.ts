import {
  listCommits,
  listDerivations,
  listEvaluations,
  showCommit,
  showEvaluation,
} from '@crystal-forge/postgres'
import { line, storePathText } from '@crystal-forge/protocol'
import * as z from 'zod'
import { type Context, type Endpoints, list, show } from '../operator-endpoint.ts'
import { filter } from '../operator-query.ts'

/** Commits, what they evaluate to, and the derivations that are built of it. */
export function pipelineEndpoints(context: Context): Endpoints {
  return {
    'GET /v1/commits': list(context, COMMIT_FILTERS, listCommits),
    'GET /v1/commits/{commit}': show(context, 'commit', showCommit),
    'GET /v1/evaluations': list(context, EVALUATION_FILTERS, listEvaluations),
    'GET /v1/evaluations/{evaluation}': show(context, 'evaluation', showEvaluation),
    'GET /v1/derivations': list(context, DERIVATION_FILTERS, listDerivations),
  }
}

const revision = z.string().regex(/^[0-9a-f]{7,40}$/, 'expected 7 to 40 hexadecimal digits')

const COMMIT_FILTERS = {
  flake: filter(line(64)),
  state: filter(z.enum(['pending', 'evaluating', 'evaluated', 'failed', 'skipped'])),
  rev: filter(revision),
}
const EVALUATION_FILTERS = {
  flake: filter(line(64)),
  commit: filter(
    z.string().regex(/^([0-9a-f]{7,40}|cmt_[0-9a-z]{1,60})$/, 'expected a revision or the id of a commit'),
  ),
  configuration: filter(line(128)),
  state: filter(z.enum(['ok', 'error'])),
}
const DERIVATION_FILTERS = {
  state: filter(z.enum(['pending', 'building', 'built', 'cached', 'failed'])),
  scan: filter(z.enum(['unscanned', 'scanned', 'no_scanner', 'failed'])),
  path: filter(storePathText),
}
