import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { ParameterError, type Parameters } from './parameters.ts'
import { type RevocationList, readRevocationList } from './revocation-list.ts'

/** Whose certificates make a machine a builder, and which of them do so no longer. PEM, and nothing but that. */
export type BuilderTrust = {
  readonly authorityPem: string
  readonly revocationList: { readonly pem: string; readonly endsAt: Date } | undefined
}

/**
 * Reads `builderCaFile` and `builderCrlFile`; undefined when there is no authority.
 * @throws {ParameterError} for a file that IAM Roles Anywhere would refuse, or that would lock every builder out
 */
export function readBuilderTrust(parameters: Parameters, now: Date): BuilderTrust | undefined {
  const { builderCaFile, builderCrlFile } = parameters
  if (builderCaFile === undefined) return undefined
  const authorities = readAuthorities(builderCaFile, now)
  const authorityPem = authorities.map((one) => one.toString().trim()).join('\n')
  if (builderCrlFile === undefined) return { authorityPem, revocationList: undefined }
  const refuse = refusal('builderCrlFile', builderCrlFile)
  const [pem, ...more] = blocks('builderCrlFile', builderCrlFile, 'X509 CRL')
  if (pem === undefined || more.length > 0) throw refuse('holds more than one list; give one')
  const list = parsed(() => readRevocationList(derOf(pem)), refuse)
  if (!authorities.some(({ publicKey }) => verifies(list, publicKey)))
    throw refuse('is not signed by the authority in builderCaFile')
  if (list.endsAt <= now) throw refuse(`ended on ${list.endsAt.toISOString()}; make the next one`)
  return { authorityPem, revocationList: { pem, endsAt: list.endsAt } }
}

function readAuthorities(file: string, now: Date): X509Certificate[] {
  const refuse = refusal('builderCaFile', file)
  return blocks('builderCaFile', file, 'CERTIFICATE').map((pem) => {
    const certificate = parsed(() => new X509Certificate(pem), refuse)
    if (!certificate.ca) throw refuse('holds a certificate that is no authority (basicConstraints CA:TRUE)')
    if (certificate.validToDate <= now)
      throw refuse(`holds an authority that ended on ${certificate.validToDate.toISOString()}`)
    if (!['rsa', 'ec'].includes(certificate.publicKey.asymmetricKeyType ?? ''))
      throw refuse('holds a key of a kind that IAM Roles Anywhere does not take; use RSA or ECDSA')
    return certificate
  })
}

type Refuse = (why: string) => ParameterError

function refusal(parameter: 'builderCaFile' | 'builderCrlFile', file: string): Refuse {
  return (why) => new ParameterError(`context ${parameter}: ${file} ${why}`)
}

/** At least one. */
function blocks(parameter: 'builderCaFile' | 'builderCrlFile', file: string, label: string): string[] {
  const refuse = refusal(parameter, file)
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch {
    throw refuse('cannot be read')
  }
  if (/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(text))
    throw refuse('holds a private key, which belongs neither here nor into a template')
  const found = text.match(
    new RegExp(`-----BEGIN ${label}-----[A-Za-z0-9+/=\\s]+-----END ${label}-----`, 'g'),
  )
  if (found === null) throw refuse(`holds no PEM block "${label}"`)
  return found
}

function derOf(pem: string): Buffer {
  return Buffer.from(pem.replace(/-----[A-Z0-9 ]+-----/g, ''), 'base64')
}

function parsed<T>(read: () => T, refuse: Refuse): T {
  try {
    return read()
  } catch (error) {
    const [why = ''] = String(error instanceof Error ? error.message : error).split('\n')
    throw refuse(`cannot be used: ${why}`)
  }
}

function verifies(list: RevocationList, key: X509Certificate['publicKey']): boolean {
  try {
    return list.isSignedBy(key)
  } catch {
    // A signature that does not even have the form of one by this kind of key.
    return false
  }
}
