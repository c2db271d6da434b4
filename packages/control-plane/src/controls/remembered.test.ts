import { expect, test } from 'vitest'
import { remembered } from './remembered.ts'

test('a text is read once, also when nothing was made of it, and another one by itself', () => {
  const asked: string[] = []
  const read = remembered((text) => {
    asked.push(text)
    return text === 'none' ? undefined : { text }
  })
  expect(read('a')).toBe(read('a'))
  expect(read('b')).toEqual({ text: 'b' })
  expect([read('none'), read('none')]).toEqual([undefined, undefined])
  expect(asked).toEqual(['a', 'b', 'none'])
})

test('long texts are not kept, and of short ones no more than some thousand', () => {
  let reads = 0
  const read = remembered((text) => {
    reads += 1
    return text.length
  })
  const long = 'x'.repeat(301)
  expect([read(long), read(long), reads]).toEqual([301, 301, 2])
  for (let n = 0; n < 2000; n++) read(`line ${n}`)
  read('line 0')
  expect(reads).toBe(2002)
  read('one more')
  read('line 0')
  expect(reads).toBe(2004)
})
