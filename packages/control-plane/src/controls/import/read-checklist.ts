import { parseStrictJson, StrictJsonError, text } from '@crystal-forge/protocol'
import * as z from 'zod'
import type { Status } from '../export/words.ts'
import { childOf, childrenOf, readXml, textOf, type XmlElement, XmlError } from './xml-read.ts'

/** A checklist as it came, whoever filled it in. */
export type Checklist = {
  readonly format: 'cklb' | 'ckl'
  readonly hostname: string
  readonly stigId: string
  readonly rules: readonly ChecklistRule[]
}
export type ChecklistRule = {
  /** The V-id. */
  readonly rule: string
  readonly status: Status
  readonly comments: string
  readonly details: string
}

export type ReadChecklist =
  | { readonly ok: true; readonly checklist: Checklist }
  /** One sentence that names the place. */
  | { readonly ok: false; readonly fault: string }

/**
 * Reads the part of a CKLB or a CKL that is about a benchmark. Members that the formats do not know are passed over: common
 * tools write some.
 */
export function readChecklist(text: string, benchmark: string): ReadChecklist {
  try {
    const checklists = /^\s*</.test(text) ? readCkl(readXml(text)) : readCklb(text)
    const [chosen, another] = checklists.filter(({ stigId }) => stigId === benchmark)
    if (another !== undefined) return { ok: false, fault: `${benchmark} stands twice` }
    if (chosen === undefined) {
      const names = checklists.map(({ stigId }) => stigId || '(no name)').join(', ') || 'nothing'
      return { ok: false, fault: `it is about ${names}, not about ${benchmark}` }
    }
    const { read, ...about } = chosen
    const checklist = { ...about, rules: read() }
    const seen = new Set<string>()
    for (const { rule } of checklist.rules) {
      if (seen.has(rule)) return { ok: false, fault: `${rule} stands twice` }
      seen.add(rule)
    }
    return { ok: true, checklist }
  } catch (error) {
    if (error instanceof ChecklistError || error instanceof XmlError || error instanceof StrictJsonError)
      return { ok: false, fault: error.message }
    throw error
  }
}

/** What a checklist says of one benchmark; its rules are read when it is the one that is wanted. */
type Entry = Omit<Checklist, 'rules'> & { readonly read: () => ChecklistRule[] }

class ChecklistError extends Error {
  override readonly name: string = 'ChecklistError'
}

function readCklb(text: string): Entry[] {
  const parsed = cklb.safeParse(parseStrictJson(Buffer.from(text.replace(/^\u{feff}/u, ''), 'utf8')))
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    throw new ChecklistError(
      `${issue?.path.map(String).join('.') || 'the document'}: ${issue?.message ?? ''}`,
    )
  }
  const { target_data: target, stigs } = parsed.data
  return stigs.map((stig) => ({
    format: 'cklb',
    hostname: target?.host_name ?? '',
    stigId: stig.stig_id,
    read: () =>
      stig.rules.map((rule) => ({
        rule: vulnId(rule.group_id, 'group_id'),
        status: CKLB[rule.status],
        comments: rule.comments,
        details: rule.finding_details,
      })),
  }))
}

const someText = text(200_000)
  .nullish()
  .transform((value) => value ?? '')
const CKLB = {
  not_a_finding: 'pass',
  open: 'open',
  not_applicable: 'not_applicable',
  not_reviewed: 'not_reviewed',
} as const
const cklb = z.looseObject({
  title: z.string(),
  id: z.string(),
  target_data: z.looseObject({ host_name: someText }).optional(),
  stigs: z
    .array(
      z.looseObject({
        stig_id: z.string(),
        rules: z
          .array(
            z.looseObject({
              group_id: z.string().max(100),
              status: z.enum(['not_a_finding', 'open', 'not_applicable', 'not_reviewed']),
              comments: someText,
              finding_details: someText,
            }),
          )
          .max(5000),
      }),
    )
    .max(50),
})

function readCkl(root: XmlElement): Entry[] {
  if (root.name !== 'CHECKLIST') throw new ChecklistError(`the root is ${root.name}; expected CHECKLIST`)
  const asset = childOf(root, 'ASSET')
  return childrenOf(childOf(root, 'STIGS') ?? root, 'iSTIG').map((stig) => {
    const info = childOf(stig, 'STIG_INFO')
    const facts = new Map(
      (info === undefined ? [] : childrenOf(info, 'SI_DATA')).map((entry) => [
        textOf(childOf(entry, 'SID_NAME')),
        textOf(childOf(entry, 'SID_DATA')),
      ]),
    )
    return {
      format: 'ckl',
      hostname: asset === undefined ? '' : textOf(childOf(asset, 'HOST_NAME')),
      stigId: facts.get('stigid') ?? '',
      read: () => childrenOf(stig, 'VULN').map(readVuln),
    }
  })
}

function readVuln(vuln: XmlElement): ChecklistRule {
  const [named = ''] = childrenOf(vuln, 'STIG_DATA')
    .filter((entry) => textOf(childOf(entry, 'VULN_ATTRIBUTE')) === 'Vuln_Num')
    .map((entry) => textOf(childOf(entry, 'ATTRIBUTE_DATA')))
  const rule = vulnId(named, 'Vuln_Num')
  const written = textOf(childOf(vuln, 'STATUS'))
  const status = CKL.get(written)
  if (status === undefined) throw new ChecklistError(`${rule}: STATUS is ${JSON.stringify(written)}`)
  return {
    rule,
    status,
    comments: textOf(childOf(vuln, 'COMMENTS')),
    details: textOf(childOf(vuln, 'FINDING_DETAILS')),
  }
}

function vulnId(text: string, member: string): string {
  if (/^V-[0-9]{1,9}$/.test(text)) return text
  throw new ChecklistError(`${member} is ${JSON.stringify(text.slice(0, 40))}; expected a V-id`)
}

const CKL: ReadonlyMap<string, Status> = new Map([
  ['NotAFinding', 'pass'],
  ['Open', 'open'],
  ['Not_Applicable', 'not_applicable'],
  ['Not_Reviewed', 'not_reviewed'],
])
