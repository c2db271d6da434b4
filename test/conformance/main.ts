import { type Answer, CaseFileError, readCaseFile } from './case-file.ts'
import { runDeploymentEnvelopes } from './deployment-envelopes.ts'
import { runEd25519 } from './ed25519.ts'
import { runNarinfo } from './narinfo.ts'
import { runOriginalWire } from './original-wire.ts'
import { runRfc9421 } from './rfc9421.ts'
import { runSignedRequests } from './signed-requests.ts'
import { runWebhooks } from './webhooks.ts'

/** Prints what the product's verifiers say about the cases of a file: one JSON line a case, in order. */
async function main(args: readonly string[]): Promise<number> {
  const [name = '', path = ''] = args
  const suite = SUITES.get(name)
  if (args.length !== 2 || suite === undefined) {
    return fail(`usage: npm run -s conformance -- SUITE FILE\nsuites: ${[...SUITES.keys()].join(' ')}`)
  }
  let file: unknown
  try {
    file = await readCaseFile(path)
  } catch (error) {
    return fail(`cannot read ${path}: ${error instanceof Error ? error.message : String(error)}`)
  }
  try {
    const answers = await suite(file)
    process.stdout.write(answers.map((answer) => `${JSON.stringify(answer)}\n`).join(''))
    return 0
  } catch (error) {
    if (error instanceof CaseFileError) return fail(`cannot read ${path}: ${error.message}`)
    throw error
  }
}

function fail(message: string): number {
  process.stderr.write(`${message}\n`)
  return 2
}

const SUITES: ReadonlyMap<string, (file: unknown) => Promise<readonly Answer[]>> = new Map([
  ['signed-requests', runSignedRequests],
  ['rfc9421', runRfc9421],
  ['ed25519', runEd25519],
  ['original-wire', runOriginalWire],
  ['narinfo', runNarinfo],
  ['webhooks', runWebhooks],
  ['deployment-envelopes', runDeploymentEnvelopes],
])

process.exitCode = await main(process.argv.slice(2))
