import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const root = join(import.meta.dirname, '..')

test('clients of AWS services are made in packages/aws only, by the one factory that knows the rules', () => {
  const listed = execFileSync(
    'git',
    ['ls-files', '-z', '--cached', '--others', '--exclude-standard', '*.ts'],
    { cwd: root },
  )
  const elsewhere = listed
    .toString()
    .split('\0')
    .filter((path) => path !== '' && !path.startsWith('packages/aws/'))
    .filter((path) => /\bnew (?:SQS|S3)(?:Client)?\(/.test(readFileSync(join(root, path), 'utf8')))
  expect(elsewhere, 'use awsClients of @crystal-forge/aws').toEqual([])
})
