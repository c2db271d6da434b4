import { execFile } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { PutObjectCommand, UploadPartCommand } from '@aws-sdk/client-s3'
import { type Bucket, bucket } from '@crystal-forge/aws'
import { generateKeyPair, renderCachePublicKey, renderCacheSecretKey } from '@crystal-forge/protocol'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { needs } from './capabilities.ts'
import { openTarget, type Target } from './target.ts'

let target: Target
let objects: Bucket
beforeAll(async () => {
  target = await openTarget()
  objects = bucket(target.clients.s3, await target.make.bucket())
})
afterAll(() => target?.close())

const text = async (key: string): Promise<string> =>
  Buffer.from((await objects.getBytes(key, 1024)) ?? []).toString()

describe('a bucket', () => {
  test('keeps the first of several writers, also when they write at once', async (context) => {
    needs(context, target, 'conditionalWrites')
    const writers = ['a', 'b', 'c', 'd']
    const outcomes = await Promise.all(writers.map((name) => objects.putIfAbsent('one', name)))
    expect(outcomes.filter((outcome) => outcome === 'stored')).toHaveLength(1)
    expect(await text('one')).toBe(writers[outcomes.indexOf('stored')])
    expect(await objects.putIfAbsent('one', 'late')).toBe('exists')
  })

  test('tells what is not there from what is empty', async () => {
    await objects.put('empty', '')
    expect(await objects.head('empty')).toMatchObject({ bytes: 0 })
    expect(await objects.get('nothing')).toBeUndefined()
    expect(await objects.head('nothing')).toBeUndefined()
    await expect(objects.delete('nothing')).resolves.toBeUndefined()
    await expect(bucket(target.clients.s3, `${objects.name}-not-there`).get('x')).rejects.toThrow()
  })

  test('takes a stream in parts, with its digest, and does not replace an object with it', async (context) => {
    needs(context, target, 'conditionalWrites')
    const content = randomBytes(17 * 1024 * 1024)
    const sha256 = createHash('sha256').update(content).digest('hex')
    async function* inChunks(): AsyncGenerator<Uint8Array> {
      for (let at = 0; at < content.length; at += 1_000_000) yield content.subarray(at, at + 1_000_000)
    }
    expect(await objects.putStreamIfAbsent('large', inChunks())).toEqual({
      outcome: 'stored',
      bytes: content.length,
      sha256,
    })
    expect((await objects.putStreamIfAbsent('large', inChunks())).outcome).toBe('exists')
    const whole = createHash('sha256')
    for await (const chunk of (await objects.get('large'))?.body ?? []) whole.update(chunk)
    expect(whole.digest('hex')).toBe(sha256)
  })

  test('refuses content that is not what its checksum says', async (context) => {
    needs(context, target, 'checksums')
    const ChecksumSHA256 = createHash('sha256').update('another content').digest('base64')
    const put = new PutObjectCommand({ Bucket: objects.name, Key: 'bad', Body: 'content', ChecksumSHA256 })
    await expect(target.clients.s3.send(put)).rejects.toThrow()
    expect(await objects.head('bad')).toBeUndefined()
  })

  test('refuses a part of an upload that nobody began', async () => {
    const part = new UploadPartCommand({
      Bucket: objects.name,
      Key: 'never',
      UploadId: 'never-begun',
      PartNumber: 1,
      Body: 'x',
    })
    await expect(target.clients.s3.send(part)).rejects.toThrow()
  })

  test('lists by prefix, page by page', async () => {
    for (const name of ['l/1', 'l/2', 'l/3', 'm/1']) await objects.put(name, name)
    const keys: string[] = []
    let cursor: string | undefined
    do {
      const page = await objects.list('l/', { limit: 2, cursor })
      expect(page.objects.length).toBeLessThanOrEqual(2)
      keys.push(...page.objects.map(({ key }) => key))
      cursor = page.cursor
    } while (cursor !== undefined)
    expect(keys).toEqual(['l/1', 'l/2', 'l/3'])
  })
})

describe('a presigned URL', () => {
  const digest = (content: string): string => createHash('sha256').update(content).digest('hex')

  test('reads one object', async () => {
    await objects.put('shared', 'for you')
    const url = await objects.presignGet('shared', { expiresSeconds: 60 })
    expect(await (await fetch(url)).text()).toBe('for you')
  })

  test('writes one object once, with the content that was agreed on', async (context) => {
    needs(context, target, 'conditionalWrites', 'checksums')
    const put = async (body: string): Promise<number> => {
      const { url, headers } = await objects.presignPut('offered', digest('agreed'), { expiresSeconds: 60 })
      return (await fetch(url, { method: 'PUT', body, headers })).status
    }
    expect(await put('another')).toBe(400)
    expect(await put('agreed')).toBe(200)
    expect(await put('agreed')).toBe(412)
    expect(await text('offered')).toBe('agreed')
  })

  test('ends', async (context) => {
    needs(context, target, 'presignedExpiry')
    await objects.put('over', 'x')
    const now = new Date(Date.now() - 120_000)
    const ended = await fetch(await objects.presignGet('over', { expiresSeconds: 60, now }))
    expect(ended.status).toBe(403)
    const { url, headers } = await objects.presignPut('late', digest('x'), { expiresSeconds: 60, now })
    expect((await fetch(url, { method: 'PUT', body: 'x', headers })).status).toBe(403)
    expect(await objects.head('late')).toBeUndefined()
  })
})

test('a plain Nix copies a signed path out of the bucket, and refuses one whose content was changed', async (context) => {
  needs(context, target, 'anonymousReads')
  const directory = await mkdtemp(join(tmpdir(), 'cf-aws-nix-'))
  const nix = async (...args: string[]): Promise<string> => {
    const env = {
      PATH: process.env['PATH'] ?? '',
      HOME: directory,
      NIX_CONF_DIR: join(directory, 'none'),
      NIX_CONFIG: 'experimental-features = nix-command\nbuild-users-group =\nsubstituters =\n',
    }
    return (await promisify(execFile)('nix', args, { env, timeout: 60_000 })).stdout.trim()
  }
  try {
    const key = { name: 'cache-1', seed: generateKeyPair().seed }
    await writeFile(join(directory, 'key'), renderCacheSecretKey(key))
    const trusted = renderCachePublicKey(key)
    await writeFile(join(directory, 'hello.txt'), 'hello from the bucket')
    const from = `local?root=${join(directory, 'from')}`
    const path = await nix('store', 'add-file', '--store', from, join(directory, 'hello.txt'))
    const cache = join(directory, 'cache')
    await nix('copy', '--from', from, '--to', `file://${cache}?secret-key=${join(directory, 'key')}`, path)
    for (const name of ['nix-cache-info', ...(await narFiles(cache))])
      await objects.put(`nix/${name}`, await readFile(join(cache, name)))

    const copy = async (to: string): Promise<void> => {
      const store = `local?root=${join(directory, to)}`
      await mkdir(join(directory, to))
      const options = ['--option', 'require-sigs', 'true', '--option', 'trusted-public-keys', trusted]
      await nix('copy', '--from', `${target.endpoint}/${objects.name}/nix`, '--to', store, ...options, path)
    }
    await copy('first')
    expect(await readFile(join(directory, 'first', path), 'utf8')).toBe('hello from the bucket')
    const [nar = ''] = (await narFiles(cache)).filter((name) => name.startsWith('nar/'))
    await objects.put(`nix/${nar}`, randomBytes(200))
    await expect(copy('second')).rejects.toThrow()
  } finally {
    await promisify(execFile)('chmod', ['-R', 'u+w', directory])
    await rm(directory, { recursive: true, force: true })
  }
})

async function narFiles(cache: string): Promise<string[]> {
  const all = await readdir(cache, { recursive: true })
  return all.filter((name) => name.endsWith('.narinfo') || /^nar\/.+\.nar/.test(name))
}
