import { randomUUID } from 'node:crypto'
import { expireLeases, inTransaction } from '@crystal-forge/postgres'
import { fakePath, rev, type World } from './world.ts'

/** A derivation of an evaluated commit, with a queued `build` job. */
export async function seedBuild(
  world: World,
  flake: string,
): Promise<{ readonly job: string; readonly derivation: string; readonly outPath: string }> {
  const salt = randomUUID()
  const outPath = fakePath('nixos-system-x', salt)
  const [row] = await world.rows(
    `with c as (insert into commit (tenant_id, flake_id, rev, position, committed_at)
       select $1, $2, $3, coalesce(max(position), 0) + 1, now() from commit where flake_id = $2 returning id),
     d as (insert into derivation (tenant_id, drv_path, out_path, name) values ($1, $5 || '.drv', $5, 'x') returning id),
     g as (insert into configuration (tenant_id, flake_id, name) values ($1, $2, $4) returning id)
     insert into evaluation (tenant_id, commit_id, configuration_id, state, derivation_id, evaluator, duration_ms)
     select $1, c.id, g.id, 'ok', d.id, '2.34.8', 1 from c, d, g returning derivation_id`,
    [world.tenant, flake, rev(salt), salt, outPath],
  )
  const derivation = String(row?.['derivation_id'])
  return { derivation, outPath, job: await world.queue('build', derivation, { system: 'x86_64-linux' }) }
}

/** Time passes: leases of this job run out, and the sweep notices. */
export async function expire(world: World, job: string): Promise<number> {
  await world.rows(
    `update job set lease_until = now() - interval '1 second' where id = $1 and state = 'leased'`,
    [job],
  )
  return inTransaction(world.scheduler, { tenant: world.tenant }, (transaction) =>
    expireLeases(transaction, 100),
  )
}

/** Time passes: retries that wait are due. */
export async function makeDue(world: World): Promise<void> {
  await world.rows(`update job set not_before = now() where state = 'queued'`)
}
