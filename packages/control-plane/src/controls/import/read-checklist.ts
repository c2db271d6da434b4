import { parseStrictJson, StrictJsonError } from '@crystal-forge/protocol'
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

/** Reads a CKLB or a CKL. Members that the formats do not know are passed over: common tools write some. */
export function readChecklist(text: string): ReadChecklist {
  try {
    const checklist = text.trimStart().startsWith('<') ? readCkl(readXml(text)) : readCklb(text)
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

class ChecklistError extends Error {
  override readonly name: string = 'ChecklistError'
}

function readCklb(text: string): Checklist {
  const parsed = cklb.safeParse(parseStrictJson(Buffer.from(text, 'utf8')))
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    throw new ChecklistError(
      `${issue?.path.map(String).join('.') || 'the document'}: ${issue?.message ?? ''}`,
    )
  }
  const [stig] = parsed.data.stigs
  if (stig === undefined || parsed.data.stigs.length !== 1)
    throw new ChecklistError(
      `stigs has ${parsed.data.stigs.length} entries; a checklist of one benchmark is read`,
    )
  return {
    format: 'cklb',
    hostname: parsed.data.target_data?.host_name ?? '',
    stigId: stig.stig_id,
    rules: stig.rules.map((rule) => ({
      rule: rule.group_id,
      status: CKLB[rule.status],
      comments: rule.comments,
      details: rule.finding_details,
    })),
  }
}

const someText = z
  .string()
  .max(200_000)
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
              group_id: z.string().regex(/^V-[0-9]{1,9}$/, 'expected a V-id'),
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

function readCkl(root: XmlElement): Checklist {
  if (root.name !== 'CHECKLIST') throw new ChecklistError(`the root is ${root.name}; expected CHECKLIST`)
  const stigs = childrenOf(childOf(root, 'STIGS') ?? root, 'iSTIG')
  const [stig] = stigs
  if (stig === undefined || stigs.length !== 1)
    throw new ChecklistError(`there are ${stigs.length} iSTIG; a checklist of one benchmark is read`)
  const asset = childOf(root, 'ASSET')
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
    rules: childrenOf(stig, 'VULN').map(readVuln),
  }
}

function readVuln(vuln: XmlElement, at: number): ChecklistRule {
  const rule = childrenOf(vuln, 'STIG_DATA')
    .filter((entry) => textOf(childOf(entry, 'VULN_ATTRIBUTE')) === 'Vuln_Num')
    .map((entry) => textOf(childOf(entry, 'ATTRIBUTE_DATA')))[0]
  if (rule === undefined || !/^V-[0-9]{1,9}$/.test(rule))
    throw new ChecklistError(`VULN ${at + 1}: Vuln_Num is ${JSON.stringify(rule ?? '')}; expected a V-id`)
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

const CKL: ReadonlyMap<string, Status> = new Map([
  ['NotAFinding', 'pass'],
  ['Open', 'open'],
  ['Not_Applicable', 'not_applicable'],
  ['Not_Reviewed', 'not_reviewed'],
])
