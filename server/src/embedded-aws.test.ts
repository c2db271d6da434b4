import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { awsClients, type Bucket, bucket, type Queue, queue, queueUrl } from '@crystal-forge/aws'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { type EmbeddedAws, startEmbeddedAws } from './embedded-aws.ts'

const root = mkdtempSync(join(tmpdir(), 'cf-aws-'))
let aws: EmbeddedAws
let objects: Bucket
let clients: ReturnType<typeof awsClients>
let now = new Date()

beforeAll(async () => {
  aws = await startEmbeddedAws({ dataDir: join(root, 'aws'), ephemeral: true, now: () => now })
  clients = awsClients({ region: 'us-east-1', endpoint: { sqs: aws.endpoint, s3: aws.endpoint } })
  await aws.ensureBucket('objects')
  objects = bucket(clients.s3, 'objects')
})
afterAll(async () => {
  clients.sqs.destroy()
  clients.s3.destroy()
  await aws.close()
  rmSync(root, { recursive: true, force: true })
})

describe('queues', () => {
  let made = 0
  async function newQueue(attributes: Record<string, string> = {}): Promise<Queue> {
    return queue(clients.sqs, await aws.ensureQueue(`q${made++}`, attributes))
  }

  test('a message arrives with its attributes, and once deleted never again', async () => {
    const q = await newQueue()
    expect(await q.send([{ body: 'one', attributes: { traceparent: '00-1' } }])).toEqual([])
    const [message] = await q.receive({ waitSeconds: 0 })
    expect(message).toMatchObject({ body: 'one', deliveries: 1, attributes: { traceparent: '00-1' } })
    expect(await q.delete([message?.receipt ?? ''])).toEqual([])
    expect(await q.depth()).toEqual({ waiting: 0, inFlight: 0, delayed: 0 })
  })

  test('more than one batch of messages is sent and deleted whole', async () => {
    const q = await newQueue()
    await q.send(Array.from({ length: 25 }, (_, n) => ({ body: String(n) })))
    const bodies = new Set<string>()
    while (bodies.size < 25) {
      const messages = await q.receive({ waitSeconds: 0 })
      for (const { body } of messages) bodies.add(body)
      await q.delete(messages.map(({ receipt }) => receipt))
    }
    expect((await q.depth()).waiting).toBe(0)
  })

  test('a refused message is named by its place, and the others are sent', async () => {
    const q = await newQueue()
    expect(await q.send([{ body: 'good' }, { body: 'bad\u0000' }])).toMatchObject([{ index: 1 }])
    expect(await q.receive({ waitSeconds: 0 })).toMatchObject([{ body: 'good' }])
  })

  test('a waiting receive gets what is sent meanwhile', async () => {
    const q = await newQueue()
    const waiting = q.receive({ waitSeconds: 20 })
    await q.send([{ body: 'wake up' }])
    expect(await waiting).toMatchObject([{ body: 'wake up' }])
  })

  test('a receive that was given up takes no message with it', async () => {
    const q = await newQueue({ VisibilityTimeout: '300' })
    const giveUp = new AbortController()
    const waiting = q.receive({ waitSeconds: 20, signal: giveUp.signal })
    // Until the emulator has the request; nothing else shows that it waits.
    await new Promise((done) => setTimeout(done, 200))
    giveUp.abort()
    expect(await waiting).toEqual([])
    await q.send([{ body: 'still here' }])
    expect(await q.receive({ waitSeconds: 5 })).toMatchObject([{ body: 'still here' }])
  })

  test('a message that is being worked on is hidden until its time ends or is given back', async () => {
    const q = await newQueue({ VisibilityTimeout: '300' })
    await q.send([{ body: 'work' }])
    const [first] = await q.receive({ waitSeconds: 0 })
    expect(await q.receive({ waitSeconds: 0 })).toEqual([])
    await q.changeVisibility(first?.receipt ?? '', 0)
    expect(await q.receive({ waitSeconds: 1 })).toMatchObject([{ body: 'work', deliveries: 2 }])
  })

  test('what fails again and again goes to the dead-letter queue', async () => {
    const dead = await newQueue()
    const deadName = dead.url.split('/').at(-1) ?? ''
    const q = await newQueue({
      RedrivePolicy: JSON.stringify({ deadLetterTargetArn: aws.queueArn(deadName), maxReceiveCount: 2 }),
    })
    await q.send([{ body: 'poison' }])
    for (let round = 0; round < 2; round++) {
      const [message] = await q.receive({ waitSeconds: 0 })
      await q.changeVisibility(message?.receipt ?? '', 0)
    }
    expect(await q.receive({ waitSeconds: 0 })).toEqual([])
    expect(await dead.receive({ waitSeconds: 1 })).toMatchObject([{ body: 'poison' }])
  })

  test('a queue is found by name, and asking for it again with other attributes changes it', async () => {
    const q = await newQueue({ VisibilityTimeout: '30' })
    const name = q.url.split('/').at(-1) ?? ''
    expect(await queueUrl(clients.sqs, name)).toBe(q.url)
    expect(await aws.ensureQueue(name, { VisibilityTimeout: '60' })).toBe(q.url)
    await expect(queueUrl(clients.sqs, 'nowhere')).rejects.toThrow(/does not exist/i)
  })
})

describe('objects', () => {
  test('what was put is read back with its headers', async () => {
    await objects.put('a/b.txt', 'text', { contentType: 'text/plain', cacheControl: 'max-age=60' })
    expect(Buffer.from((await objects.getBytes('a/b.txt', 100)) ?? []).toString()).toBe('text')
    expect(await objects.head('a/b.txt')).toMatchObject({ bytes: 4, contentType: 'text/plain' })
    const plain = await fetch(`${aws.endpoint}/objects/a/b.txt`)
    expect(plain.headers.get('cache-control')).toBe('max-age=60')
  })

  test('what is not there is undefined, and a missing bucket is an error', async () => {
    expect(await objects.get('nothing')).toBeUndefined()
    expect(await objects.head('nothing')).toBeUndefined()
    await expect(bucket(clients.s3, 'no-such-bucket').get('nothing')).rejects.toThrow(/bucket does not exist/)
  })

  test('of many writers of one key exactly one stores', async () => {
    const outcomes = await Promise.all(
      Array.from({ length: 8 }, (_, n) => objects.putIfAbsent('raced', `writer ${n}`)),
    )
    expect(outcomes.filter((outcome) => outcome === 'stored')).toHaveLength(1)
    const winner = `writer ${outcomes.indexOf('stored')}`
    expect(Buffer.from((await objects.getBytes('raced', 100)) ?? []).toString()).toBe(winner)
  })

  test('an object that is larger than the reader allows is refused', async () => {
    await objects.put('large', 'x'.repeat(100))
    await expect(objects.getBytes('large', 99)).rejects.toThrow(RangeError)
  })

  test.each([
    { name: 'empty', bytes: 0 },
    { name: 'one part less a byte', bytes: 8 * 1024 * 1024 - 1 },
    { name: 'exactly one part', bytes: 8 * 1024 * 1024 },
    { name: 'several parts', bytes: 20 * 1024 * 1024 + 7 },
  ])('a stream is stored once and whole: $name', async ({ name, bytes }) => {
    const content = randomBytes(bytes)
    const sha256 = createHash('sha256').update(content).digest('hex')
    const key = `stream/${name}`
    expect(await objects.putStreamIfAbsent(key, pieces(content))).toEqual({
      outcome: 'stored',
      bytes,
      sha256,
    })
    expect(await objects.putStreamIfAbsent(key, pieces(content))).toEqual({
      outcome: 'exists',
      bytes,
      sha256,
    })
    const stored = await objects.getBytes(key, bytes)
    expect(
      createHash('sha256')
        .update(stored ?? '')
        .digest('hex'),
    ).toBe(sha256)
  })

  test('a stream that fails halfway leaves no object', async () => {
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield randomBytes(9 * 1024 * 1024)
      throw new Error('the disk was unplugged')
    }
    await expect(objects.putStreamIfAbsent('broken', failing())).rejects.toThrow('unplugged')
    expect(await objects.head('broken')).toBeUndefined()
  })

  test('listings come in pages, in order, below a prefix', async () => {
    const keys = ['list/c', 'list/a&b <x>', 'list/b', 'list/ä', 'other']
    for (const key of keys) await objects.put(key, '')
    const first = await objects.list('list/', { limit: 3 })
    const second = await objects.list('list/', { limit: 3, cursor: first.cursor })
    expect([...first.objects, ...second.objects].map(({ key }) => key)).toEqual([
      'list/a&b <x>',
      'list/b',
      'list/c',
      'list/ä',
    ])
    expect(second.cursor).toBeUndefined()
    await objects.delete('list/b')
    await objects.delete('list/b')
    expect((await objects.list('list/')).objects).toHaveLength(3)
  })

  test('a presigned read works until it expires', async () => {
    await objects.put('signed', 'for you')
    now = new Date()
    const url = await objects.presignGet('signed', { expiresSeconds: 60 })
    expect(await (await fetch(url)).text()).toBe('for you')
    now = new Date(Date.now() + 62_000)
    expect((await fetch(url)).status).toBe(403)
    now = new Date()
  })

  test('a presigned write stores the promised bytes, once', async () => {
    const body = 'content'
    const sha256 = createHash('sha256').update(body).digest('hex')
    const { url, headers } = await objects.presignPut('upload', sha256, { expiresSeconds: 60 })
    const write = (content: string): Promise<Response> =>
      fetch(url, { method: 'PUT', headers, body: content })
    expect((await write('another')).status).toBe(400)
    expect((await write(body)).status).toBe(200)
    expect((await write(body)).status).toBe(412)
  })

  test('a Nix substituter needs no credentials, no signature and no listing', async () => {
    await objects.put('nix-cache-info', 'StoreDir: /nix/store\n', { contentType: 'text/x-nix-cache-info' })
    expect(await (await fetch(`${aws.endpoint}/objects/nix-cache-info`)).text()).toBe(
      'StoreDir: /nix/store\n',
    )
    expect((await fetch(`${aws.endpoint}/objects/abc.narinfo`)).status).toBe(404)
    expect((await fetch(`${aws.endpoint}/objects/abc.narinfo`, { method: 'HEAD' })).status).toBe(404)
  })

  test('keys that look like paths out of the bucket stay in it', async () => {
    for (const key of ['../../escape', '/etc/passwd', 'a//b', 'key%2fwith%25', 'ключ']) {
      const path = `${aws.endpoint}/objects/${encodeURIComponent(key)}`
      expect((await fetch(path, { method: 'PUT', body: key })).status).toBe(200)
      expect(await (await fetch(path)).text()).toBe(key)
    }
  })
})

describe('what S3 refuses is refused here', () => {
  const at = (path: string, init?: RequestInit): Promise<Response> =>
    fetch(`${aws.endpoint}/objects/${path}`, init)
  const sha = (text: string): string => createHash('sha256').update(text).digest('base64')

  test.each([
    {
      what: 'a wrong SHA-256',
      headers: { 'x-amz-checksum-sha256': sha('other') },
      status: 400,
      code: 'BadDigest',
    },
    {
      what: 'a wrong CRC32',
      headers: { 'x-amz-checksum-crc32': 'AAAAAA==' },
      status: 400,
      code: 'BadDigest',
    },
    { what: 'a wrong MD5', headers: { 'content-md5': 'AAAA' }, status: 400, code: 'BadDigest' },
    {
      what: 'another length',
      headers: { 'x-amz-decoded-content-length': '3' },
      status: 400,
      code: 'IncompleteBody',
    },
    {
      what: 'a body that is not in chunks',
      headers: { 'content-encoding': 'aws-chunked' },
      status: 400,
      code: 'IncompleteBody',
    },
    { what: 'If-Match without object', headers: { 'if-match': '"x"' }, status: 404, code: 'NoSuchKey' },
    { what: 'a copy', headers: { 'x-amz-copy-source': '/objects/a' }, status: 501, code: 'NotImplemented' },
  ])('$what', async ({ headers, status, code }) => {
    const answer = await at('refused', { method: 'PUT', body: 'body', headers })
    expect(answer.status).toBe(status)
    expect(await answer.text()).toContain(`<Code>${code}</Code>`)
    expect(await objects.head('refused')).toBeUndefined()
  })

  test.each(['tagging', 'acl', 'policy', 'versioning', 'lifecycle', 'retention'])(
    'PUT ?%s changes nothing',
    async (name) => {
      await objects.put('kept', 'body')
      expect((await at(`kept?${name}`, { method: 'PUT', body: '<x/>' })).status).toBe(501)
      expect(await (await at('kept')).text()).toBe('body')
    },
  )

  test('If-Match writes only over what the writer has seen', async () => {
    const first = await at('versioned', { method: 'PUT', body: '1' })
    const etag = first.headers.get('etag') ?? ''
    const update = (body: string): Promise<Response> =>
      at('versioned', { method: 'PUT', body, headers: { 'if-match': etag } })
    const statuses = (await Promise.all([update('2'), update('3'), update('4')])).map(({ status }) => status)
    expect(statuses.sort()).toEqual([200, 412, 412])
  })

  test('conditions and ranges of reads', async () => {
    const { headers } = await at('ranged', { method: 'PUT', body: '0123456789' })
    const etag = headers.get('etag') ?? ''
    const read = async (ask: Record<string, string>): Promise<[number, string]> => {
      const answer = await at('ranged', { headers: ask })
      return [answer.status, await answer.text()]
    }
    expect(await read({ range: 'bytes=2-4' })).toEqual([206, '234'])
    expect(await read({ range: 'bytes=-3' })).toEqual([206, '789'])
    expect(await read({ range: 'bytes=8-' })).toEqual([206, '89'])
    expect((await read({ range: 'bytes=10-' }))[0]).toBe(416)
    expect(await read({ 'if-none-match': etag })).toEqual([304, ''])
    expect((await read({ 'if-match': '"other"' }))[0]).toBe(412)
  })

  test('a request under another name is refused, so that no web page gets in by a name of its own', async () => {
    const status = await new Promise((resolve) => {
      request(`${aws.endpoint}/objects/kept`, { headers: { host: 'evil.example' } }, (answer) =>
        resolve(answer.statusCode),
      ).end()
    })
    expect(status).toBe(403)
  })
})

test('objects, half an upload and the port survive a killed process', async () => {
  const dataDir = join(root, 'killed')
  const first = await startInAnotherProgram(dataDir)
  const before = bucket(awsClients({ region: 'us-east-1', endpoint: { s3: first.endpoint } }).s3, 'kept')
  await before.put('small', 'small')
  const large = randomBytes(9 * 1024 * 1024)
  const { sha256 } = await before.putStreamIfAbsent('large', pieces(large))
  // A write whose sender never finishes is what a crash interrupts.
  const unfinished = new ReadableStream({ start: (stream) => stream.enqueue(randomBytes(1000)) })
  const hanging = fetch(`${first.endpoint}/kept/half`, {
    method: 'PUT',
    body: unfinished,
    duplex: 'half',
  }).catch(() => {})
  await before.head('small')
  process.kill(first.program, 'SIGKILL')
  await hanging
  // Its connections end before the process does, and with it its lock.
  await vi.waitFor(() => expect(() => process.kill(first.program, 0)).toThrow(), { timeout: 10_000 })

  const second = await startEmbeddedAws({ dataDir })
  expect(second.endpoint).toBe(first.endpoint)
  const after = bucket(awsClients({ region: 'us-east-1', endpoint: { s3: second.endpoint } }).s3, 'kept')
  expect(Buffer.from((await after.getBytes('small', 100)) ?? []).toString()).toBe('small')
  expect(
    createHash('sha256')
      .update((await after.getBytes('large', 1e8)) ?? '')
      .digest('hex'),
  ).toBe(sha256)
  expect((await after.list('')).objects.map(({ key }) => key)).toEqual(['large', 'small'])
  await second.close()
})

test('a second emulator on the same directory is refused', async () => {
  await expect(startEmbeddedAws({ dataDir: join(root, 'aws') })).rejects.toThrow(/another process serves/)
})

async function* pieces(content: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let start = 0; start < content.byteLength; start += 100_000)
    yield content.subarray(start, start + 100_000)
}

async function startInAnotherProgram(dataDir: string): Promise<{ program: number; endpoint: string }> {
  const script = `
    const { startEmbeddedAws } = await import(${JSON.stringify(new URL('./embedded-aws.ts', import.meta.url).href)})
    const aws = await startEmbeddedAws({ dataDir: process.argv[1] })
    await aws.ensureBucket('kept')
    console.log(aws.endpoint)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, dataDir], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  for await (const endpoint of createInterface({ input: child.stdout }))
    return { program: child.pid ?? 0, endpoint }
  throw new Error('the other program said nothing')
}
