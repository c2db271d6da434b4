import { inspect } from 'node:util'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseSealingKey, SealingKey, seal, unseal } from './sealed-secret.ts'

const key = new SealingKey(new Uint8Array(32).fill(7))

test('what was sealed opens with the same key and owner', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 512 }), fc.string(), (secret, owner) => {
      expect(unseal(seal(secret, owner, key), owner, key)).toEqual(Buffer.from(secret))
    }),
  )
})

test('another owner, another key, any changed byte and any cut do not open', () => {
  const sealed = seal(Buffer.from('a webhook secret'), 'hook_1', key)
  expect(unseal(sealed, 'hook_2', key)).toBeNull()
  expect(unseal(sealed, 'hook_1', new SealingKey(new Uint8Array(32)))).toBeNull()
  for (let at = 0; at < sealed.length; at++) {
    const changed = Buffer.from(sealed)
    changed[at] = (changed[at] ?? 0) ^ 1
    expect(unseal(changed, 'hook_1', key)).toBeNull()
    expect(unseal(sealed.subarray(0, at), 'hook_1', key)).toBeNull()
  }
})

test('the same secret sealed twice looks different', () => {
  const secret = Buffer.from('a webhook secret')
  expect(seal(secret, 'hook_1', key)).not.toEqual(seal(secret, 'hook_1', key))
})

test('a key file is base64 of 32 bytes, and the key prints as a placeholder', () => {
  expect(parseSealingKey(`${Buffer.alloc(32).toString('base64')}\n`)).toBeInstanceOf(SealingKey)
  for (const text of ['', 'short', Buffer.alloc(31).toString('base64'), 'x'.repeat(44)])
    expect(parseSealingKey(text)).toBeNull()
  expect(`${key} ${JSON.stringify(key)} ${inspect(key)}`).not.toContain('7, 7')
})
