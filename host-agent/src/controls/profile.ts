import { X509Certificate } from 'node:crypto'
import { parseOsRelease } from '../collectors/os-release.ts'
import { readSystemPaths } from '../collectors/system-paths.ts'
import { CannotCollect, type Collector, inOrder, NAME, PATH, textArg, textsArg } from './collector.ts'
import { readText } from './read-text.ts'

/** Whether the profile of the system has a program of this name. */
export const binaries: Collector = async ({ tree }, args) => {
  if (!tree.exists(PROFILE)) throw new CannotCollect('absent', 'the current system has no profile')
  const names = textsArg(args, 'names', NAME)
  return Object.fromEntries(names.map((name) => [name, tree.exists(`${PROFILE}/${name}`)]))
}

export const systemPaths: Collector = async ({ tree }) => {
  const { current, booted } = readSystemPaths(tree)
  if (current === null || booted === null)
    throw new CannotCollect('absent', 'the links of the current and the booted system lead nowhere')
  return { current, booted, bootedIsCurrent: current === booted }
}

export const osRelease: Collector = async (host) =>
  Object.fromEntries(parseOsRelease(await readText(host, '/etc/os-release')))

/** The certificates of a PEM file: who issued them, how many are over, and which end comes first. */
export const certificates: Collector = async (host, args) => {
  const file = textArg(args, 'path', PATH)
  const pem = await readText(host, file, PEM_BYTES_MAX)
  const blocks =
    pem.match(/-----BEGIN (?:TRUSTED )?CERTIFICATE-----[\s\S]*?-----END (?:TRUSTED )?CERTIFICATE-----/g) ?? []
  if (blocks.length === 0) throw new CannotCollect('unreadable', `${file} holds no certificate`)
  const parsed = blocks.map((block) => parseCertificate(block, file))
  const ends = parsed.map((one) => Date.parse(one.validTo)).sort((a, b) => a - b)
  const [first] = ends
  return {
    issuers: inOrder(new Set(parsed.map((one) => one.issuer.trim().replaceAll('\n', ', ')))),
    expired: ends.filter((end) => end < host.now().getTime()).length,
    ...(first === undefined || Number.isNaN(first) ? {} : { notAfter: new Date(first).toISOString() }),
  }
}

function parseCertificate(pem: string, file: string): X509Certificate {
  try {
    return new X509Certificate(pem)
  } catch {
    throw new CannotCollect('unreadable', `${file} holds a certificate that cannot be read`)
  }
}

const PROFILE = '/run/current-system/sw/bin'
/** A bundle of all public authorities has a quarter of that. */
const PEM_BYTES_MAX = 1024 * 1024
