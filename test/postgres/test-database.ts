import { randomBytes } from 'node:crypto'
import { connect, readDatabaseUrl } from '@crystal-forge/postgres'
import pg from 'pg'
import { inject } from 'vitest'
import { databaseUrl } from './global-setup.ts'

export type TestDatabase = {
  /** As the superuser, who passes every policy. */
  readonly url: string
  readonly admin: pg.Pool
  /** The same database as one of the login roles of the migrations. */
  urlFor(role: string): string
  /** A pool of that role; `drop` ends it. */
  poolFor(role: string): pg.Pool
  /** Ends the pools and removes the database. */
  drop(): Promise<void>
}

export type TestDatabaseOptions = {
  /** `empty`: without the schema, for tests of migrations. */
  readonly content?: 'migrated' | 'empty'
}

/** A database of its own for a test file, copied from the migrated template in some 50 ms. Call `drop` in afterAll. */
export async function createTestDatabase(options: TestDatabaseOptions = {}): Promise<TestDatabase> {
  const cluster = inject('testCluster')
  if (cluster?.kind !== 'ready') {
    throw new Error(cluster?.because ?? 'vitest ran without test/postgres/global-setup.ts')
  }
  const name = `t_${randomBytes(8).toString('hex')}`
  const template = options.content === 'empty' ? 'template0' : cluster.template
  await maintain(cluster.url, `create database ${name} template ${template}`)
  const url = databaseUrl(cluster.url, name)
  const pools: pg.Pool[] = []
  const open = (target: string): pg.Pool => {
    const pool = connect(readDatabaseUrl(target))
    pools.push(pool)
    return pool
  }
  const urlFor = (role: string): string => withUser(url, role)
  return {
    url,
    admin: open(url),
    urlFor,
    poolFor: (role) => open(urlFor(role)),
    drop: async () => {
      await Promise.all(pools.map((pool) => pool.end()))
      await maintain(cluster.url, `drop database ${name} with (force)`)
    },
  }
}

function withUser(url: string, user: string): string {
  const changed = new URL(url)
  changed.username = user
  return changed.href
}

async function maintain(url: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}
