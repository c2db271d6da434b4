import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import path from 'node:path'

/** A certificate for `localhost` that lasts a day, made by openssl. */
export function selfSignedCertificate(directory: string): { readonly key: string; readonly cert: string } {
  const file = (name: string): string => path.join(directory, name)
  execFileSync(
    'openssl',
    // biome-ignore format: one option and its value after the other
    ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1', '-subj', '/CN=localhost',
     '-addext', 'subjectAltName=DNS:localhost', '-keyout', file('tls.key'), '-out', file('tls.pem')],
    { stdio: 'ignore' },
  )
  return { key: readFileSync(file('tls.key'), 'utf8'), cert: readFileSync(file('tls.pem'), 'utf8') }
}
