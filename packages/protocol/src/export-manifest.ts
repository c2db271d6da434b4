import * as z from 'zod'
import { hexSha256, hostname, instant, line } from './messages/primitives.ts'
import { parseStrictJson, StrictJsonError } from './strict-json.ts'

/** What the control plane signs of an export: every file of a bundle with its digest, and what the files are about. */
export type ExportManifest = {
  readonly v: 1
  readonly tenant: string
  /** RFC 3339: the time that was asked about. */
  readonly as_of: string
  readonly benchmark: string
  readonly release: string
  readonly catalogue_sha256: string
  readonly hosts: readonly { readonly system: string; readonly hostname: string }[]
  /** In the order of their names. */
  readonly files: readonly ExportedFile[]
}

export type ExportedFile = {
  readonly name: string
  readonly format: string
  /** Null: it is about all hosts of the manifest. */
  readonly host: string | null
  readonly media_type: string
  readonly bytes: number
  /** Lower-case hexadecimal. */
  readonly sha256: string
}

/** The name of the manifest inside of a bundle: a DSSE envelope as JSON. */
export const MANIFEST_FILE = 'manifest.dsse.json'

/** Files of a bundle: 200 hosts with four formats each, and those about all hosts. */
const FILES_MAX = 1000
/** What one answer of the control plane can carry, and some. */
const FILE_BYTES_MAX = 16 * 1024 * 1024

const fileName = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,299}$/,
    'expected a name of letters, digits, ".", "_" and "-", without a directory',
  )
  .refine((name) => name !== MANIFEST_FILE, `${MANIFEST_FILE} is the manifest itself`)

const file = z.strictObject({
  name: fileName,
  format: z.string().regex(/^[a-z0-9-]{1,40}$/),
  host: hostname.nullable(),
  media_type: line(100),
  bytes: z.int().min(0).max(FILE_BYTES_MAX),
  sha256: hexSha256,
})

/** The payload of the envelope: strict, because it is signed. */
export const exportManifest: z.ZodType<ExportManifest> = z.strictObject({
  v: z.literal(1),
  tenant: line(100),
  as_of: instant,
  benchmark: line(200),
  release: line(40),
  catalogue_sha256: hexSha256,
  hosts: z.array(z.strictObject({ system: line(100), hostname })).max(FILES_MAX),
  files: z
    .array(file)
    .min(1)
    .max(FILES_MAX)
    .refine(
      (files) => files.every(({ name }, index) => index === 0 || (files[index - 1]?.name ?? '') < name),
      'expected names in order, each once',
    ),
})

/** Reads the payload of an envelope whose signature is somebody else's to judge. */
export function readExportManifest(
  payload: Uint8Array,
):
  | { readonly ok: true; readonly manifest: ExportManifest }
  | { readonly ok: false; readonly code: 'malformed_manifest'; readonly detail: string } {
  const refuse = (detail: string) => ({ ok: false, code: 'malformed_manifest', detail }) as const
  try {
    const parsed = exportManifest.safeParse(parseStrictJson(payload))
    if (parsed.success) return { ok: true, manifest: parsed.data }
    const [issue] = parsed.error.issues
    return refuse(`${issue?.path.map(String).join('.') || 'the manifest'}: ${issue?.message ?? ''}`)
  } catch (error) {
    if (error instanceof StrictJsonError) return refuse(error.message)
    throw error
  }
}

/** What was found beside a manifest. */
export type FoundFile = { readonly name: string; readonly bytes: number; readonly sha256: string }

export type BundleFault = {
  readonly file: string
  readonly kind: 'changed' | 'missing' | 'extra'
  readonly detail: string
}

/** How a bundle differs from its manifest; nothing when it is whole. `found` leaves the manifest itself out. */
export function compareBundle(manifest: ExportManifest, found: readonly FoundFile[]): BundleFault[] {
  const there = new Map(found.map((one) => [one.name, one]))
  const named = new Set(manifest.files.map(({ name }) => name))
  const faults = manifest.files.flatMap(({ name, bytes, sha256 }): BundleFault[] => {
    const one = there.get(name)
    if (one === undefined)
      return [{ file: name, kind: 'missing', detail: 'the manifest names it, and it is not there' }]
    if (one.sha256 === sha256 && one.bytes === bytes) return []
    const detail = `it has ${one.bytes} bytes with sha256 ${one.sha256}; what was signed has ${bytes} with ${sha256}`
    return [{ file: name, kind: 'changed', detail }]
  })
  const extra = found.filter(({ name }) => !named.has(name))
  return [
    ...faults,
    ...extra.map(
      ({ name }): BundleFault => ({ file: name, kind: 'extra', detail: 'the manifest does not name it' }),
    ),
  ]
}
