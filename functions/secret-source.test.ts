import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { EnvironmentReader } from './environment.ts'
import { fetchSecrets, fromFile, readSecretSource } from './secret-source.ts'

const directory = mkdtempSync(join(tmpdir(), 'cf-secret-source-'))
afterAll(() => rmSync(directory, { recursive: true }))

test('a secret lies in a file on one machine and in Secrets Manager in AWS', async () => {
  const path = join(directory, 'a.key')
  writeFileSync(path, 'text\n')
  const local = new EnvironmentReader({ A_FILE: path })
  const source = readSecretSource(local, 'A')
  local.done()
  expect(fromFile(source)).toBe('text\n')
  expect((await fetchSecrets([source]))(source)).toBe('text\n')
  const aws = new EnvironmentReader({ A_SECRET_ARN: 'arn:x', AWS_REGION: 'eu-test-1' })
  expect(readSecretSource(aws, 'A')).toEqual({
    kind: 'secrets-manager',
    variable: 'A_SECRET_ARN',
    arn: 'arn:x',
    region: 'eu-test-1',
  })
  aws.done()
})

test.each([
  [{}, /A_FILE is not set/],
  [{ A_SECRET_ARN: 'arn:x' }, /AWS_REGION is not set/],
  [
    { A_SECRET_ARN: 'arn:x', A_FILE: '/a', AWS_REGION: 'r' },
    /A_SECRET_ARN and A_FILE are both set; remove one/,
  ],
])('%j is refused', (environment, says) => {
  const reader = new EnvironmentReader(environment)
  readSecretSource(reader, 'A')
  expect(() => reader.done()).toThrow(says)
})
