import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'

/** What `server.json` of a data directory says. */
export type ServerFacts = {
  readonly url: string
  readonly pid: number
  readonly adminTokenFile: string
  readonly jobPublicKey: string
  readonly cachePublicKey: string
  readonly cacheUrl: string
  readonly awsEndpoint: string
}

/** The operator API with the first admin token; waits while the server is away. */
export type ControlPlane = {
  readonly facts: ServerFacts
  /** The body of an answer with status 200. Anything else is thrown. */
  get(path: string): Promise<unknown>
  /** All items of a list, page after page. */
  list<Item>(path: string): Promise<Item[]>
}

/** Waits until the server of a data directory answers, and connects to it. */
export async function connectControlPlane(serverFile: string, patienceMs: number): Promise<ControlPlane> {
  const deadline = Date.now() + patienceMs
  for (;;) {
    const facts = await readFacts(serverFile)
    if (facts !== undefined && (await isHealthy(facts.url))) {
      const token = (await readFile(facts.adminTokenFile, 'utf8')).trim()
      return client(facts, token)
    }
    if (Date.now() > deadline) throw new Error(`the server did not answer within ${patienceMs / 1000} s`)
    await sleep(50)
  }
}

function client(facts: ServerFacts, token: string): ControlPlane {
  const get = async (path: string): Promise<unknown> => {
    const deadline = Date.now() + AWAY_MS_MAX
    for (;;) {
      try {
        const response = await fetch(new URL(path, facts.url), {
          headers: { authorization: `Bearer ${token}` },
        })
        if (response.status === 200) return await response.json()
        if (response.status < 500)
          throw new RefusedError(`${path}: ${response.status} ${await response.text()}`)
      } catch (error) {
        if (error instanceof RefusedError || Date.now() > deadline) throw error
      }
      await sleep(100)
    }
  }
  return {
    facts,
    get,
    async list(path) {
      const items = []
      let cursor: string | null = null
      do {
        const page = new URL(path, facts.url)
        if (cursor !== null) page.searchParams.set('cursor', cursor)
        const answer = await get(page.pathname + page.search)
        if (!isPage(answer)) throw new Error(`${path} is no list`)
        items.push(...answer.items)
        cursor = answer.next_cursor
      } while (cursor !== null)
      return items
    },
  }
}

class RefusedError extends Error {}

// biome-ignore lint/suspicious/noExplicitAny: what the items are is the caller's to say
type Page = { items: any[]; next_cursor: string | null }

function isPage(value: unknown): value is Page {
  return typeof value === 'object' && value !== null && 'items' in value && Array.isArray(value.items)
}

async function readFacts(serverFile: string): Promise<ServerFacts | undefined> {
  try {
    return JSON.parse(await readFile(serverFile, 'utf8'))
  } catch {
    return undefined
  }
}

async function isHealthy(url: string): Promise<boolean> {
  try {
    return (await fetch(new URL('/status', url))).status === 200
  } catch {
    return false
  }
}

/** A server that was killed is back within a few seconds. */
const AWAY_MS_MAX = 60_000
