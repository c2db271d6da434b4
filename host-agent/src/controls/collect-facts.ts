import { createHash } from 'node:crypto'
import type { ControlFact, ControlFacts } from '@crystal-forge/protocol'
import { readSystemPaths } from '../collectors/system-paths.ts'
import { readHostname } from '../observe.ts'
import { type Args, CannotCollect, type Collector, type Host, isDenied, type Json } from './collector.ts'

/** What is asked: a collector with its arguments. Comes with the agent, never from the control plane. */
export type Question = { readonly collector: string; readonly args: Args }

/** One look at everything that controls are judged by; what is missing belongs to the chain of messages. */
export type CollectedFacts = Pick<
  ControlFacts,
  'hostname' | 'collected_at' | 'boot_id' | 'current_path' | 'booted_path' | 'stig_report_sha256' | 'facts'
>

/**
 * Asks every question, one after the other. A collector that has no value says why; none stops the others.
 * @throws Error when this is no NixOS, or the system was switched while it was looked at: then the facts belong to neither.
 */
export async function collectFacts(
  host: Host,
  questions: readonly Question[],
  collectors: Readonly<Record<string, Collector>>,
): Promise<CollectedFacts> {
  const before = readSystemPaths(host.tree)
  const hostname = await readHostname(host.tree)
  if (before.current === null || hostname === null)
    throw new Error(`${host.tree.root} is no NixOS with a name`)
  const collected_at = host.now().toISOString()
  const report = await host.tree.bytes(STIG_REPORT, REPORT_BYTES_MAX)
  const facts: ControlFact[] = []
  for (const question of questions) {
    const known = Object.hasOwn(collectors, question.collector) ? collectors[question.collector] : undefined
    facts.push(await askOne(host, question, known))
  }
  if (readSystemPaths(host.tree).current !== before.current)
    throw new Error('the system was switched meanwhile')
  return {
    hostname,
    collected_at,
    boot_id: (await host.tree.text('/proc/sys/kernel/random/boot_id'))?.slice(0, 64) ?? null,
    current_path: before.current,
    booted_path: before.booted,
    stig_report_sha256: report === null || report.length === REPORT_BYTES_MAX ? null : sha256(report),
    facts: fitting(facts),
  }
}

async function askOne(
  host: Host,
  question: Question,
  collector: Collector | undefined,
): Promise<ControlFact> {
  const collected_at = host.now().toISOString()
  const asked = { collector: question.collector, args: mutable(question.args), collected_at }
  try {
    if (collector === undefined) throw new CannotCollect('unsupported', 'this agent has no such collector')
    const value = await collector(host, question.args)
    if (bytesOf(value) > VALUE_BYTES_MAX)
      throw new CannotCollect('too_large', `the value has more than ${VALUE_BYTES_MAX} bytes`)
    return { ...asked, value: clone(value) }
  } catch (error) {
    const { code, message } = whyNot(error)
    return { ...asked, error: { code, detail: message.replace(/\p{Cc}+/gu, ' ').slice(0, 500) } }
  }
}

/** The message of an error that no collector wrote may quote what was read. */
function whyNot(error: unknown): CannotCollect {
  if (error instanceof CannotCollect) return error
  return isDenied(error)
    ? new CannotCollect('not_permitted', 'the agent may not look at it')
    : new CannotCollect('failed', 'the collector failed')
}

/** The largest values give way until the message fits; each says so. */
function fitting(facts: readonly ControlFact[]): ControlFact[] {
  const fit = [...facts]
  while (bytesOf(fit) > FACTS_BYTES_MAX) {
    const sizes = fit.map((fact) => ('value' in fact ? bytesOf(fact.value) : 0))
    const at = sizes.indexOf(Math.max(...sizes))
    const largest = fit[at]
    if (largest === undefined || !('value' in largest)) break
    const { value, ...asked } = largest
    fit[at] = {
      ...asked,
      error: { code: 'too_large', detail: 'all values together are larger than a message' },
    }
  }
  return fit
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

function bytesOf(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value))
}

/**
 * As the message will carry it, without what a strict reader of JSON or a database refuses: half of a surrogate pair, NUL, and members
 * that every object has. One line in one file must not cost the whole message.
 */
function clone(value: Json): Extract<ControlFact, { value: unknown }>['value'] {
  return JSON.parse(JSON.stringify(value), (name, part: unknown) => {
    if (name === '__proto__' || name === 'constructor' || name === 'prototype') return undefined
    return typeof part === 'string' ? part.replace(/[\p{Cs}\0]/gu, '\u{FFFD}') : part
  })
}

function mutable(args: Args): ControlFact['args'] {
  return JSON.parse(JSON.stringify(args))
}

/** `nix/stig` installs it; that it lies in the current system proves which report the host runs. */
const STIG_REPORT = '/run/current-system/etc/crystal-forge/stig-report.json'
/** The longest honest value is a list of audit rules, about 20 KiB. */
const VALUE_BYTES_MAX = 64 * 1024
/** A message may have 1 MiB with everything around the facts. */
const FACTS_BYTES_MAX = 960 * 1024
/** 104 rules at about 2 KiB; what is larger would be read in part, and a part has another hash. */
const REPORT_BYTES_MAX = 4 * 1024 * 1024
