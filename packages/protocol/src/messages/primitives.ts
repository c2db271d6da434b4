import * as z from 'zod'

/** ULID or any opaque id a sender makes for one report: 16-64 characters, never reused for another report. */
export const reportId: z.ZodString = z
  .string()
  .regex(/^[A-Za-z0-9_-]{16,64}$/, 'expected 16-64 of A-Z a-z 0-9 _ -')

/** A DNS-like host name, as `hostname` of the host says it. */
export const hostname: z.ZodString = z
  .string()
  .regex(
    /^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/,
    'expected a host name of letters, digits, "-" and "."',
  )

const BASE32 = '[0123456789abcdfghijklmnpqrsvwxyz]'
const NAME = '[0-9A-Za-z+_?=][0-9A-Za-z+\\-._?=]{0,210}'

/** An absolute store path (Nix manual, "store path"); the name begins with neither "-" nor ".". */
export const storePathText: z.ZodString = z
  .string()
  .regex(new RegExp(`^/nix/store/${BASE32}{32}-${NAME}$`), 'expected /nix/store/<32 characters>-<name>')

/** A `.drv` store path. */
export const drvPathText: z.ZodString = z
  .string()
  .regex(
    new RegExp(`^/nix/store/${BASE32}{32}-${NAME}\\.drv$`),
    'expected /nix/store/<32 characters>-<name>.drv',
  )

/** RFC 3339 with a zone, as the sender's clock says. */
export const instant: z.ZodISODateTime = z.iso.datetime({ offset: true })

/** A full git revision: 40 lower-case hexadecimal digits. */
export const gitRevision: z.ZodString = z.string().regex(/^[0-9a-f]{40}$/, 'expected 40 hexadecimal digits')

/** The NAR hash in SRI form, `sha256-<base64>`. */
export const sriSha256: z.ZodString = z
  .string()
  .regex(/^sha256-[A-Za-z0-9+/]{43}=$/, 'expected sha256-<base64>')

/** Lower-case hexadecimal SHA-256. */
export const hexSha256: z.ZodString = z.string().regex(/^[0-9a-f]{64}$/, 'expected 64 hexadecimal digits')

/** Raw 32-byte Ed25519 public key in padded standard base64, the form of the original's configuration. */
export const publicKeyText: z.ZodString = z
  .string()
  .regex(/^[A-Za-z0-9+/]{43}=$/, 'expected the base64 of 32 bytes')

/** `ed25519:` + base64url(SHA-256(SPKI DER)). */
export const keyIdText: z.ZodString = z
  .string()
  .regex(/^ed25519:[A-Za-z0-9_-]{43}$/, 'expected ed25519:<43 characters>')

/** How long the name of a configuration may be; a host that names none follows the one that is called like it. */
const CONFIGURATION_CHARACTERS_MAX = 128

/** The name of a configuration of a flake. */
export const configurationName: z.ZodString = line(CONFIGURATION_CHARACTERS_MAX).min(1)

/** The name of an environment. */
export const environmentName: z.ZodString = line(64).min(1)

/** Whether a host names the configuration that it follows, by its own name where it gives no other. */
export function namesConfiguration(host: {
  readonly hostname: string
  readonly configuration?: string | undefined
}): boolean {
  return host.configuration !== undefined || host.hostname.length <= CONFIGURATION_CHARACTERS_MAX
}

/** What an integer column holds. */
export const INT4_MAX = 2_147_483_647

/** Printable text of one line, for names and messages that people read. */
export function line(charactersMax: number): z.ZodString {
  return z
    .string()
    .max(charactersMax)
    .regex(/^\P{Cc}*$/u, 'expected one line without control characters')
}

/** Text of many lines, such as an error or the tail of a log. PostgreSQL has no text with NUL. */
export function text(charactersMax: number): z.ZodString {
  return z
    .string()
    .max(charactersMax)
    .refine((value) => !value.includes('\0'), 'expected text without NUL')
}

/**
 * A DSSE envelope as JSON (DSSE 1.0.2): parsed for shape here, verified by `verifyEnvelope`. Members that a later version
 * adds are ignored, as DSSE asks: what counts is inside of the payload.
 */
export const envelopeJson: z.ZodObject<
  {
    payloadType: z.ZodString
    payload: z.ZodString
    signatures: z.ZodArray<
      z.ZodObject<{ keyid: z.ZodOptional<z.ZodString>; sig: z.ZodString }, z.core.$strip>
    >
  },
  z.core.$strip
> = z.object({
  payloadType: line(200),
  payload: z.string().max(1_000_000),
  signatures: z.array(z.object({ keyid: line(200).optional(), sig: z.string().max(200) })).max(16),
})
