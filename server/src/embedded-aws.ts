import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { join } from 'node:path'
import { embeddedSqs } from './embedded-sqs.ts'
import { holdMachineLock } from './machine-lock.ts'
import { handleS3 } from './s3/handle-s3.ts'
import { ObjectStore } from './s3/object-store.ts'
import { Uploads } from './s3/uploads.ts'

export type EmbeddedAwsOptions = {
  /** A directory of our own: objects are kept in it. */
  readonly dataDir: string
  /** Instead of the port that this directory had last time, or any free one. */
  readonly port?: number
  readonly region?: string
  /** For data that nobody will miss: no fsync. */
  readonly ephemeral?: boolean
  readonly now?: () => Date
}

export type EmbeddedAws = {
  /** `http://127.0.0.1:PORT`, for SQS and S3 alike. The same after a restart, unless somebody took the port. */
  readonly endpoint: string
  /** Makes the queue, or gives it these attributes; resolves to its URL. */
  ensureQueue(name: string, attributes?: Readonly<Record<string, string>>): Promise<string>
  /** The ARN of a queue, for the `RedrivePolicy` of another. */
  queueArn(name: string): string
  ensureBucket(name: string): Promise<void>
  /** Ends long polls, finishes what is being answered, frees port and directory. */
  close(): Promise<void>
}

/**
 * SQS and S3 for one machine, on loopback. Objects survive the death of the process; queues and their messages do not,
 * see embedded-sqs.ts. There is no authentication: whoever can open a loopback connection on this machine may do
 * everything. Objects can be read by any HTTP client, a Nix substituter for instance, at `ENDPOINT/BUCKET/KEY`.
 */
export async function startEmbeddedAws(options: EmbeddedAwsOptions): Promise<EmbeddedAws> {
  await mkdir(options.dataDir, { recursive: true, mode: 0o700 })
  const release = await holdMachineLock(`aws:${options.dataDir}`)
  if (!release) throw new Error(`another process serves the objects in ${options.dataDir}: stop it first`)
  try {
    return await serve(options, release)
  } catch (error) {
    await release()
    throw error
  }
}

async function serve(options: EmbeddedAwsOptions, release: () => Promise<void>): Promise<EmbeddedAws> {
  const settings = { directory: options.dataDir, durable: !options.ephemeral }
  const now = options.now ?? (() => new Date())
  const store = new ObjectStore(settings)
  const uploads = new Uploads(store, settings)
  await store.open()
  await uploads.open(now())

  let endpoint = ''
  const sqs = await embeddedSqs({ region: options.region ?? 'us-east-1', origin: () => endpoint })
  const server = createServer({ requestTimeout: REQUEST_MS_MAX }, (request, response) => {
    if (!addressedHere(request)) response.writeHead(403).end('this address is for this machine only')
    else if (sqs.takes(request)) sqs.handle(request, response)
    else void handleS3({ store, uploads, now }, request, response)
  })
  endpoint = `http://${HOST}:${await listen(server, options)}`
  return {
    endpoint,
    ensureQueue: (name, attributes = {}) => sqs.ensureQueue(name, attributes),
    queueArn: sqs.queueArn,
    ensureBucket: (name) => store.createBucket(name),
    close: async () => {
      await sqs.close()
      await stop(server)
      await release()
    },
  }
}

/** A web page that points its own name at 127.0.0.1 must not reach what has no other protection. */
function addressedHere(request: IncomingMessage): boolean {
  const host = (request.headers.host ?? '').replace(/:\d+$/, '')
  return host === HOST || host === 'localhost' || host === '[::1]'
}

/** URLs with the port end up in databases and in the configuration of other machines' tools, so it is kept. */
async function listen(server: Server, options: EmbeddedAwsOptions): Promise<number> {
  if (options.port !== undefined) return bind(server, options.port)
  const file = join(options.dataDir, 'port')
  const last = Number(await readFile(file, 'utf8').catch(() => '0'))
  const port = await bind(server, last).catch(() => bind(server, 0))
  await writeFile(file, `${port}\n`)
  return port
}

function bind(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, HOST, () => {
      server.off('error', reject)
      const address = server.address()
      if (address && typeof address === 'object') resolve(address.port)
      else reject(new Error('the system named no port'))
    })
  })
}

async function stop(server: Server): Promise<void> {
  const closed = new Promise((done) => server.close(done))
  server.closeIdleConnections()
  const impatience = setTimeout(() => server.closeAllConnections(), CLOSE_MS_MAX)
  await closed
  clearTimeout(impatience)
}

const HOST = '127.0.0.1'
/** A NAR of gigabytes on a slow disk. */
const REQUEST_MS_MAX = 60 * 60 * 1000
const CLOSE_MS_MAX = 5_000
