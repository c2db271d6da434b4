import {
  allTenants,
  type connect,
  type Database,
  expireLeases,
  forgetOld,
  hintAgain,
  inTransaction,
  pathsPublished,
  pollFlakes,
  recordFleetDay,
  scanAgain,
  turnNoncePartitions,
  unpublishedPaths,
} from '@crystal-forge/postgres'
import type { Log } from '../log.ts'
import type { PublishNarinfos } from '../narinfo-publisher.ts'
import { turnWaivers } from './waivers.ts'

/** How many of each were dealt with. */
export type Swept = {
  readonly expired: number
  readonly hinted: number
  readonly polled: number
  readonly rescanned: number
  readonly published: number
  readonly deliveries: number
  readonly receipts: number
  readonly deployments: number
  readonly partitions: number
  /** Approved waivers whose time was over. */
  readonly waivers: number
  /** How many times it was said that an approved waiver ends soon. */
  readonly notices: number
  /** Tenants whose row of the day was written. */
  readonly days: number
  /** Tenants in which something went wrong; the log says what. */
  readonly failed: number
}

export type Sweep = {
  readonly database: ReturnType<typeof connect>
  readonly publish: PublishNarinfos
  readonly hintAgainS: number
  readonly log: Log
}

/** Everything that time alone makes due. Each piece is bounded and repeatable, so a sweep that breaks off is made good by the next. */
export async function sweep(parts: Sweep): Promise<Swept> {
  const partitions = await turnNoncePartitions(parts.database)
  const total: Record<keyof Swept, number> = {
    ...NOTHING,
    partitions: partitions.created + partitions.dropped,
  }
  for (const tenant of await allTenants(parts.database)) {
    for (const piece of PIECES) {
      try {
        const done = await piece(parts, tenant)
        for (const key of KEYS) total[key] += done[key] ?? 0
      } catch (error) {
        // One tenant's trouble must not keep the leases of the others.
        parts.log('error', 'a piece of the sweep failed', { tenant, piece: piece.name, error })
        total.failed++
      }
    }
  }
  return total
}

type Piece = (parts: Sweep, tenant: string) => Promise<Partial<Swept>>

const leases: Piece = (parts, tenant) =>
  within(parts, tenant, async (transaction) => ({ expired: await expireLeases(transaction, BATCH) }))

const polls: Piece = (parts, tenant) =>
  within(parts, tenant, async (transaction) => ({ polled: await pollFlakes(transaction, BATCH) }))

const hints: Piece = (parts, tenant) =>
  within(parts, tenant, async (transaction) => ({
    hinted: await hintAgain(transaction, { olderS: parts.hintAgainS, most: BATCH }),
  }))

const scans: Piece = (parts, tenant) =>
  within(parts, tenant, async (transaction) => ({
    rescanned: await scanAgain(transaction, { olderHours: 24, most: BATCH }),
  }))

const waivers: Piece = (parts, tenant) =>
  within(parts, tenant, (transaction) => turnWaivers(transaction, BATCH))

const days: Piece = (parts, tenant) =>
  within(parts, tenant, async (transaction) => ({ days: (await recordFleetDay(transaction)) ? 1 : 0 }))

const leftovers: Piece = (parts, tenant) =>
  within(parts, tenant, (transaction) => forgetOld(transaction, BATCH * 10))

/** Narinfos that a commit did not come to write. Not in one transaction: the bucket is asked in between. */
const narinfos: Piece = async (parts, tenant) => {
  const paths = await within(parts, tenant, (transaction) =>
    unpublishedPaths(transaction, { olderS: COMMIT_TAKES_S, most: BATCH }),
  )
  if (paths.length === 0) return {}
  await parts.publish(tenant, paths)
  await within(parts, tenant, (transaction) =>
    pathsPublished(
      transaction,
      paths.map(({ path }) => path),
    ),
  )
  return { published: paths.length }
}

function within<T>(
  { database }: Sweep,
  tenant: string,
  work: (transaction: Database) => Promise<T>,
): Promise<T> {
  return inTransaction(database, { tenant }, work)
}

/** Metrics, each of which costs as much as three alarms: what an alarm reads. The dashboard asks the log for the rest. */
export const COUNTED = ['failed'] as const satisfies readonly (keyof Swept)[]

const PIECES: readonly Piece[] = [leases, polls, hints, scans, narinfos, waivers, leftovers, days]
const NOTHING: Swept = {
  expired: 0,
  hinted: 0,
  polled: 0,
  rescanned: 0,
  published: 0,
  deliveries: 0,
  receipts: 0,
  deployments: 0,
  partitions: 0,
  waivers: 0,
  notices: 0,
  days: 0,
  failed: 0,
}
const KEYS = [
  'expired',
  'hinted',
  'polled',
  'rescanned',
  'published',
  'deliveries',
  'receipts',
  'deployments',
  'waivers',
  'notices',
  'days',
] as const
const BATCH = 500
/** A commit that is still running publishes its paths itself. */
const COMMIT_TAKES_S = 60
