import type { Database } from '@crystal-forge/postgres'
import { scramVerifier } from './scram-verifier.ts'

/** One role per program, made by migrations. */
const PROGRAM_ROLES = `select rolname as role from pg_roles where rolname = any ('{
  cf_ingest, cf_enroll, cf_hooks, cf_builders, cf_cache, cf_operators, cf_controls, cf_scheduler, cf_status}')`

/**
 * Makes the role `cf_login`, which may do nothing itself but become one of the programs' roles, and gives it this
 * password. For a database of our own, where the owner is a superuser.
 */
export async function ensureLoginRole(owner: Database, password: string): Promise<void> {
  const { rowCount } = await owner.query('select from pg_roles where rolname = $1', [LOGIN_ROLE])
  if (rowCount === 0) await owner.query(`create role ${LOGIN_ROLE} login noinherit`)
  await owner.query(`alter role ${LOGIN_ROLE} password '${scramVerifier(password)}'`)
  for (const role of await programRoles(owner))
    await owner.query(`grant ${role} to ${LOGIN_ROLE} with inherit false, set true`)
}

/**
 * Lets the owner of the schema become each of the programs' roles. Who created a role administers it, but is not
 * allowed to become it until it says so.
 */
export async function admitOwner(owner: Database): Promise<void> {
  for (const role of await programRoles(owner)) {
    const { rows } = await owner.query<{ may: boolean }>(`select pg_has_role($1, 'SET') as may`, [role])
    if (rows[0]?.may) continue
    await owner
      .query(`grant ${role} to current_user with inherit false, set true`)
      .catch((cause: unknown) => {
        throw new Error(
          `the owner of the database may not become ${role}: as its administrator, grant ${role} to it`,
          { cause },
        )
      })
  }
}

/**
 * Gives the role that dashboards connect as this password, and the tenant that it sees. For a database of our own: elsewhere
 * the administrator does both.
 */
export async function admitDashboards(owner: Database, tenantId: string, password: string): Promise<void> {
  await owner.query(`alter role cf_dashboards password '${scramVerifier(password)}'`)
  await owner.query(
    `insert into dashboard_login (login, tenant) values ('cf_dashboards', $1)
     on conflict (login) do update set tenant = excluded.tenant`,
    [tenantId],
  )
}

async function programRoles(owner: Database): Promise<string[]> {
  const { rows } = await owner.query<{ role: string }>(PROGRAM_ROLES)
  return rows.map(({ role }) => role)
}

export const LOGIN_ROLE = 'cf_login'
