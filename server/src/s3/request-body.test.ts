import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodeChunked, requestBody } from './request-body.ts'

async function* inPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let start = 0; start < bytes.byteLength; start += size) yield bytes.subarray(start, start + size)
}

async function decode(text: string, size = 3): Promise<{ body: string; trailers: Record<string, string> }> {
  const trailers: Record<string, string> = {}
  const chunks: Uint8Array[] = []
  for await (const chunk of decodeChunked(inPieces(Buffer.from(text, 'latin1'), size), trailers))
    chunks.push(Buffer.from(chunk))
  return { body: Buffer.concat(chunks).toString('latin1'), trailers }
}

describe('aws-chunked', () => {
  test('is decoded however the network cuts it', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ minLength: 1, maxLength: 50 })),
        fc.integer({ min: 1, max: 60 }),
        fc.boolean(),
        async (chunks, size, signed) => {
          const extension = signed ? ';chunk-signature=0123abcd' : ''
          const parts = chunks.map(
            (chunk) =>
              `${chunk.byteLength.toString(16)}${extension}\r\n${Buffer.from(chunk).toString('latin1')}\r\n`,
          )
          const { body, trailers } = await decode(
            `${parts.join('')}0${extension}\r\nX-Amz-Trailer-A: b\r\n\r\n`,
            size,
          )
          expect(body).toBe(Buffer.concat(chunks).toString('latin1'))
          expect(trailers).toEqual({ 'x-amz-trailer-a': 'b' })
        },
      ),
    )
  })

  test.each([
    '',
    'x',
    'zz\r\n',
    '-1\r\n',
    '5\r\nabc',
    '3\r\nabcd\r\n0\r\n\r\n',
    '3\r\nabc\r\n',
    'fffffffff\r\n',
    '0\r\nno colon\r\n\r\n',
    `${'1'.repeat(20_000)}`,
  ])('that is malformed is refused: %j', async (text) => {
    await expect(decode(text)).rejects.toThrow(/cannot be read/)
  })
})

describe('a checksum in a trailer', () => {
  const body = 'hello'
  const right = Buffer.alloc(4)
  right.writeUInt32BE(crc32(body))
  const send = async (checksum: string, announced = 'x-amz-checksum-crc32'): Promise<unknown> => {
    const raw = `5\r\n${body}\r\n0\r\nx-amz-checksum-crc32:${checksum}\r\n\r\n`
    const headers = {
      'content-encoding': 'aws-chunked',
      'x-amz-trailer': announced,
      'x-amz-decoded-content-length': '5',
    }
    const { content, verify } = requestBody(inPieces(Buffer.from(raw), 4), headers)
    for await (const _chunk of content) {
    }
    return verify().checksum
  }

  test('is verified and kept', async () => {
    const value = right.toString('base64')
    expect(await send(value)).toEqual({ algorithm: 'crc32', value })
  })

  test('is refused when it is wrong or was not announced', async () => {
    await expect(send('AAAAAA==')).rejects.toThrow(/does not match/)
    await expect(send(right.toString('base64'), '')).rejects.toThrow(/not announced/)
  })
})
