import { parseSealingKey } from '@crystal-forge/control-plane'
import { parseCacheSecretKey, parseSeed, publicKeyOfSeed, renderPublicKey } from '@crystal-forge/protocol'
import { expect, test } from 'vitest'
import type { Fields } from '../log.ts'
import { fillSecrets } from './fill-secrets.ts'

const config = {
  sealingKeyArn: 'arn:sealing',
  jobSigningKeyArn: 'arn:job',
  narinfoKeyArn: 'arn:narinfo',
  exportSigningKeyArn: 'arn:export',
  cacheKeyName: 'cache.example.com-1',
}

/** Secrets as Secrets Manager keeps them, without a way to read. */
function vault(values: Map<string, string>) {
  return {
    fillOnce: async (arn: string, make: () => string) => {
      if (values.has(arn)) return 'kept' as const
      values.set(arn, make())
      return 'filled' as const
    },
  }
}

test('each secret gets a first value that its function accepts, and the log only the public halves', async () => {
  const values = new Map<string, string>()
  const lines: Fields[] = []
  const log = (_level: string, _message: string, fields: Fields = {}): void => {
    lines.push(fields)
  }
  expect(await fillSecrets(vault(values), config, log)).toEqual({ filled: 4 })
  expect(parseSealingKey(values.get('arn:sealing') ?? '')).not.toBeNull()
  expect(parseCacheSecretKey(values.get('arn:narinfo') ?? '')?.name).toBe('cache.example.com-1')
  const seed = parseSeed(values.get('arn:job') ?? '')
  if (seed === null) throw new Error('the job signing key is no seed')
  expect(lines).toContainEqual({ arn: 'arn:job', job_public_key: renderPublicKey(publicKeyOfSeed(seed)) })
  const exports = parseSeed(values.get('arn:export') ?? '')
  if (exports === null) throw new Error('the key of exports is no seed')
  expect(lines).toContainEqual({
    arn: 'arn:export',
    export_public_key: renderPublicKey(publicKeyOfSeed(exports)),
  })
  for (const value of values.values()) expect(JSON.stringify(lines)).not.toContain(value)
})

test('a value that is there stays, also when it was put by a person', async () => {
  const values = new Map([['arn:narinfo', 'from a ceremony']])
  const lines: Fields[] = []
  const log = (_level: string, _message: string, fields: Fields = {}): void => {
    lines.push(fields)
  }
  expect(await fillSecrets(vault(values), config, log)).toEqual({ filled: 3 })
  expect(await fillSecrets(vault(values), config, log)).toEqual({ filled: 0 })
  expect(values.get('arn:narinfo')).toBe('from a ceremony')
  expect(lines.map(({ arn }) => arn)).toEqual(['arn:sealing', 'arn:job', 'arn:export'])
})
