import type { AgentPrincipal } from '@crystal-forge/control-plane'
import type { KeyRecord } from '@crystal-forge/protocol'
import { expect, test } from 'vitest'
import { knownKeys } from './known-keys.ts'

function counted(status: 'active' | 'revoked') {
  const asked: string[] = []
  const find = async (keyId: string): Promise<KeyRecord<AgentPrincipal> | null> => {
    asked.push(keyId)
    const publicKey = new Uint8Array(32)
    const principal = { kind: 'agent', tenant: 't', system: 's', hostname: 'h', keyId, publicKey } as const
    return keyId === 'unknown' ? null : { status, publicKey, principal }
  }
  return { asked, find }
}

test('an active key is asked for once, until it is forgotten', async () => {
  const { asked, find } = counted('active')
  const keys = knownKeys(find)
  await keys.find('a')
  await keys.find('a')
  keys.forget('a')
  await keys.find('a')
  expect(asked).toEqual(['a', 'a'])
})

test('what is unknown or revoked is never remembered', async () => {
  const { asked, find } = counted('revoked')
  const keys = knownKeys(find)
  for (const key of ['unknown', 'unknown', 'a', 'a']) await keys.find(key)
  expect(asked).toEqual(['unknown', 'unknown', 'a', 'a'])
})

test('the least recently used leave first', async () => {
  const { asked, find } = counted('active')
  const keys = knownKeys(find, 2)
  for (const key of ['a', 'b', 'a', 'c', 'a', 'b']) await keys.find(key)
  expect(asked).toEqual(['a', 'b', 'c', 'b'])
})
