import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import {
  type AssessmentSnapshot,
  assess,
  compareChecklist,
  type HostEvidence,
  readChecklist,
  writeExport,
} from '@crystal-forge/control-plane'
import { demoHost, demoWaiver, theCatalogue } from '../test/controls/demo-host.ts'
import type { Measured } from './measured.ts'

const HOSTS = 1000
const VERDICTS_MS_MAX = 5
const FILES_S_MAX = 60

/**
 * P14: the verdicts of 103 rules for a host from its facts, and 1 000 checklists as files, written and read back without a
 * change. Every host is parsed anew from JSON, as rows of the database are, so nothing of one helps the next.
 */
export async function measureControls(hosts = HOSTS): Promise<Measured> {
  const out = await mkdtemp(join(tmpdir(), 'cf-p14-'))
  try {
    const verdictMs: number[] = []
    let cpuMs = 0
    let pass = 0
    const begun = performance.now()
    for (let n = 0; n < hosts; n++) {
      const host = hostNamed(`web-${n}`)
      const used = process.cpuUsage()
      const started = performance.now()
      const snapshot = assess(CATALOGUE, { at: AT, hosts: [host], waivers: [demoWaiver()] })
      verdictMs.push(performance.now() - started)
      const { user, system } = process.cpuUsage(used)
      cpuMs += (user + system) / 1000
      pass += snapshot.score.states.pass
      await writeFile(join(out, `${host.hostname}.cklb`), writeExport('cklb', snapshot, CATALOGUE))
    }
    const written = performance.now()
    const same = await readBack(out, hosts)
    const read = performance.now()
    if (same !== hosts * RULES) throw new Error(`${same} of ${hosts * RULES} results came back as they were`)
    const sorted = verdictMs.toSorted((one, other) => one - other)
    const at = (share: number): number => rounded(sorted[Math.floor(sorted.length * share)] ?? Number.NaN)
    const seconds = rounded((read - begun) / 1000)
    const rows = [
      { what: `${RULES} verdicts of a host, ms`, p50: at(0.5), p90: at(0.9), p99: at(0.99) },
      // Of all threads, the collector of garbage among them; a busy machine does not change it much.
      { what: `${RULES} verdicts of a host, ms of processor (mean)`, p50: rounded(cpuMs / hosts) },
      { what: `${hosts} CKLB written, s`, p50: rounded((written - begun) / 1000) },
      { what: `${hosts} CKLB read back, s`, p50: rounded((read - written) / 1000) },
      { what: 'memory of this process, MB', p50: Math.round(process.memoryUsage.rss() / 1e6) },
      await rival(out),
    ]
    const holds =
      Math.max(at(0.5), cpuMs / hosts) <= VERDICTS_MS_MAX && (seconds * HOSTS) / hosts <= FILES_S_MAX
    return {
      settings: { hosts, rules: RULES, passed: pass },
      rows,
      verdict: `P14: at most ${VERDICTS_MS_MAX} ms a host and ${FILES_S_MAX} s for ${HOSTS} files: ${at(0.5)} ms (${rounded(cpuMs / hosts)} ms of processor) and ${seconds} s, ${holds ? 'reached' : 'NOT reached'}`,
    }
  } finally {
    await rm(out, { recursive: true, force: true })
  }
}

async function readBack(directory: string, hosts: number): Promise<number> {
  let same = 0
  for (let n = 0; n < hosts; n++) {
    const name = `web-${n}`
    const read = readChecklist(
      await readFile(join(directory, `${name}.cklb`), 'utf8'),
      CATALOGUE.benchmark.id,
    )
    if (!read.ok) throw new Error(read.fault)
    const [host] = snapshotOf(name).hosts
    if (host === undefined) throw new Error(`${name} is gone`)
    same += compareChecklist(read.checklist, host).same
  }
  return same
}

function snapshotOf(name: string): AssessmentSnapshot {
  return assess(CATALOGUE, { at: AT, hosts: [hostNamed(name)], waivers: [demoWaiver()] })
}

/** A host whose report and facts are objects of its own. */
function hostNamed(hostname: string): HostEvidence {
  const evaluation: Pick<NonNullable<HostEvidence['evaluation']>, 'report'> = JSON.parse(EVALUATION)
  const runtime: readonly { readonly args: never; readonly values: never }[] = JSON.parse(RUNTIME)
  return {
    ...BASE,
    system: `sys_${hostname}`,
    hostname,
    evaluation: BASE.evaluation === null ? null : { ...BASE.evaluation, report: evaluation.report },
    runtime: BASE.runtime.map((fact, at) => ({
      ...fact,
      args: runtime[at]?.args ?? null,
      values: runtime[at]?.values ?? null,
    })),
  }
}

/** OpenSCAP on our own XCCDF, where it is installed: what it takes to do no more than read it. */
async function rival(directory: string): Promise<Readonly<Record<string, string | number>>> {
  const file = join(directory, 'web-0.xml')
  await writeFile(file, writeExport('xccdf', snapshotOf('web-0'), CATALOGUE))
  const started = performance.now()
  try {
    await promisify(execFile)('oscap', ['info', file])
    return { what: 'oscap info of one host, s', p50: rounded((performance.now() - started) / 1000) }
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT')
      return { what: 'oscap is not installed; published: 0.6 s and 129 MB doing nothing' }
    throw error
  }
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100
}

const CATALOGUE = theCatalogue()
const AT = new Date('2026-11-24T12:00:00.000Z')
const BASE = demoHost(CATALOGUE, AT)
const EVALUATION = JSON.stringify(BASE.evaluation)
const RUNTIME = JSON.stringify(BASE.runtime)
const RULES = 103

if (import.meta.main) {
  const { rows, verdict } = await measureControls()
  console.table(rows)
  console.log(verdict)
}
