import {
  closureDigest,
  nix32OfHash,
  type SignedPathInfo,
  storePath,
  type UploadedPath,
} from '@crystal-forge/protocol'
import { type Actor, recordEvent } from './audit-events.ts'
import type { Database } from './connect.ts'

const HELD = `select 1 from job where id = $1 and fence = $2 and builder_id = $3 and state = 'leased' and kind = 'build'`

/** Whether the builder holds this `build` job: nobody else writes to the cache. */
export async function holdsBuild(
  transaction: Database,
  claim: { readonly job: string; readonly fence: number; readonly builder: string },
): Promise<boolean> {
  const values = [claim.job, claim.fence, claim.builder]
  const { rowCount } = await transaction.query({ name: 'holds_build', text: HELD, values })
  return rowCount === 1
}

const MISSING = 'select missing_paths($1) as path'

/** What of `paths` is not published yet, in their order. */
export async function missingPaths(transaction: Database, paths: readonly string[]): Promise<string[]> {
  const { rows } = await transaction.query<{ path: string }>({
    name: 'missing_paths',
    text: MISSING,
    values: [paths],
  })
  return rows.map(({ path }) => path)
}

const CONFLICTS = `
select s.path, s.nar_hash as known, p ->> 'nar_hash' as given
from jsonb_array_elements($1::jsonb) p join store_path s on s.path = p ->> 'path' and s.tenant_id = cf_tenant()
where s.nar_hash <> p ->> 'nar_hash' or s.nar_size <> (p ->> 'nar_size')::bigint
order by s.path limit 10`

export type PathConflict = { readonly path: string; readonly known: string; readonly given: string }

/** Paths of a batch that the cache holds with other contents; the first ten. */
export async function pathConflicts(
  transaction: Database,
  batch: readonly UploadedPath[],
): Promise<PathConflict[]> {
  const { rows } = await transaction.query<PathConflict>(CONFLICTS, [JSON.stringify(batch)])
  return rows
}

const COMMIT = 'select commit_paths($1, $2::jsonb) as fresh'

/** Writes the rows of a batch, with the signatures that their narinfos will carry. Published rows stay as they are. */
export async function commitPaths(
  transaction: Database,
  batch: {
    readonly builder: string
    readonly job: string
    readonly actor: Actor
    readonly paths: readonly (UploadedPath & { readonly signature: string })[]
  },
): Promise<void> {
  const { builder, job, actor, paths } = batch
  const { rows } = await transaction.query<{ fresh: number }>(COMMIT, [builder, JSON.stringify(paths)])
  const fresh = rows[0]?.fresh ?? 0
  if (fresh === 0) return
  const digest = closureDigest(paths.map(signedInfo))
  await recordEvent(transaction, {
    type: 'cache.committed',
    actor,
    detail: { job, paths: paths.length, fresh, sha256: digest.sha256 },
  })
}

/** What a narinfo signature is over, of a path as builders describe it. */
export function signedInfo(path: UploadedPath): SignedPathInfo {
  return {
    storePath: storePath(path.path),
    narHash: nix32OfHash(path.nar_hash),
    narSize: path.nar_size,
    references: path.references.map(storePath),
  }
}

const PUBLISHED = `
update store_path set published_at = now()
where tenant_id = cf_tenant() and path = any ($1) and published_at is null`

/** The narinfos of these paths are in the bucket. */
export async function pathsPublished(transaction: Database, paths: readonly string[]): Promise<void> {
  await transaction.query(PUBLISHED, [paths])
}

const UNPUBLISHED = `
select s.path, s.nar_hash, s.nar_size, s.deriver, s.ca, s.url, s.compression, s.file_hash, s.file_size, s.signature,
  coalesce((select array_agg(r.path order by r.path) from store_path r where r.id = any (s.reference_ids)), '{}') as references
from store_path s
where s.tenant_id = cf_tenant() and s.published_at is null and s.committed_at < now() - make_interval(secs => $1)
order by s.id limit $2`

/** A row of the cache with everything that its narinfo says. */
export type CachedPath = UploadedPath & { readonly signature: string }

/** Paths whose narinfo somebody was about to write and then did not, for this many seconds. */
export async function unpublishedPaths(
  transaction: Database,
  { olderS, most }: { olderS: number; most: number },
): Promise<CachedPath[]> {
  const { rows } = await transaction.query<CachedPath>(UNPUBLISHED, [olderS, most])
  return rows
}

export type ClosureOutcome =
  | { readonly kind: 'closed'; readonly count: number; readonly narSize: number; readonly sha256: string }
  /** Up to ten paths of the closure that are not published. */
  | { readonly kind: 'incomplete'; readonly missing: readonly string[] }

const WALK = 'select id, path, nar_hash, nar_size, refs, published from closure_paths($1)'
const CLOSE = `
insert into closure (tenant_id, toplevel, path_ids, nar_size, sha256)
values (cf_tenant(), $1, $2, $3, $4) on conflict (tenant_id, toplevel) do nothing`

type WalkRow = {
  id: number
  path: string
  nar_hash: string
  nar_size: number
  refs: string[]
  published: boolean
}

/** Records that everything a toplevel needs is published, with the digest that pins it. */
export async function commitClosure(transaction: Database, toplevel: string): Promise<ClosureOutcome> {
  const { rows } = await transaction.query<WalkRow>(WALK, [toplevel])
  if (rows.length === 0) return { kind: 'incomplete', missing: [toplevel] }
  const missing = rows.filter(({ published }) => !published).map(({ path }) => path)
  if (missing.length > 0) return { kind: 'incomplete', missing: missing.slice(0, 10) }
  const { count, sha256 } = closureDigest(
    rows.map((row) => ({
      storePath: storePath(row.path),
      narHash: row.nar_hash,
      narSize: row.nar_size,
      references: row.refs.map(storePath),
    })),
  )
  const narSize = rows.reduce((sum, row) => sum + row.nar_size, 0)
  await transaction.query(CLOSE, [toplevel, rows.map(({ id }) => id), narSize, sha256])
  return { kind: 'closed', count, narSize, sha256 }
}
