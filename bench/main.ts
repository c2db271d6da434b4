import { availableParallelism } from 'node:os'
import { measureColdStarts } from './cold-start.ts'
import { measureCost } from './cost.ts'
import type { Measured } from './measured.ts'
import { measureReports } from './p1-reports.ts'
import { measureWebhookToVerdict } from './p5-webhook-to-verdict.ts'
import { measureLists } from './p8-lists.ts'
import { measureHostAgent } from './p10-host-agent.ts'
import { measureControls } from './p14-controls.ts'

/** `npm run bench` lists the benchmarks, `npm run bench -- p1` runs one: a table for people, one line of JSON for programs. */
const BENCHMARKS: Readonly<Record<string, { readonly what: string; readonly run: () => Promise<Measured> }>> =
  {
    p1: {
      what: 'signed state reports a second, against a handler of the original shape',
      run: measureReports,
    },
    p5: {
      what: 'from a webhook to a verdict at 1 000 systems, against polling every minute',
      run: measureWebhookToVerdict,
    },
    p8: {
      what: 'what operators ask for at 10 000 systems, against a walk over the history',
      run: () => measureLists(),
    },
    p10: {
      what: 'memory, processor and bytes of the agent of a host',
      run: measureHostAgent,
    },
    p11: {
      what: 'size of each bundle, and what its import takes in a fresh Node',
      run: () => measureColdStarts(),
    },
    p14: {
      what: 'verdicts of 103 controls for a host, and 1 000 checklists as files',
      run: () => measureControls(),
    },
    p13: {
      what: 'cost of a host in a month, from counted requests and a dated price table',
      run: measureCost,
    },
  }

const [name] = process.argv.slice(2)
const chosen = name === undefined ? undefined : BENCHMARKS[name]
if (chosen === undefined) {
  if (name !== undefined) console.error(`there is no benchmark ${JSON.stringify(name)}`)
  for (const [key, { what }] of Object.entries(BENCHMARKS)) console.log(`npm run bench -- ${key}   ${what}`)
  process.exitCode = name === undefined ? 0 : 2
} else {
  const measured = await chosen.run()
  const machine = { cpus: availableParallelism(), node: process.version }
  console.table(measured.rows)
  console.log(measured.verdict)
  console.log(JSON.stringify({ benchmark: name, ...machine, ...measured }))
}
