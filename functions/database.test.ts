import { X509Certificate } from 'node:crypto'
import { rootCertificates } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { authorities } from './database.ts'

const file = fileURLToPath(new URL('../test/infra/builder-authority.pem', import.meta.url))

test('the database is vouched for by the authorities of the file and nobody else', () => {
  expect(subjects(authorities(file, false))).toEqual(['CN=authority of builders'])
})

test('behind a proxy also by the roots of Amazon, and by no other that Node knows', () => {
  const [own, ...others] = subjects(authorities(file, true))
  expect(own).toBe('CN=authority of builders')
  expect(others).toContain('CN=Amazon Root CA 1')
  expect(others.filter((subject) => !subject.startsWith('CN=Amazon Root CA'))).toEqual([])
  expect(others.length).toBeLessThan(rootCertificates.length / 10)
})

function subjects(pem: string): string[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []
  return blocks.map((block) => /^CN=.*$/m.exec(new X509Certificate(block).subject)?.[0] ?? block)
}
