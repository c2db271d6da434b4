import {
  allTenants,
  type connect,
  inTransaction,
  nonceHoursAhead,
  type TenantWatch,
  watchTenant,
} from '@crystal-forge/postgres'

/** One line a minute that alarms read: what grows when something stands still. */
export type Watched = {
  readonly outboxAgeS: number
  readonly jobWaitingS: number
  readonly buildersSilent: number
  readonly hostsSilentPercent: number
  readonly nonceHoursAhead: number
}

/** The worst of all tenants where it is an age, and the sum where it is a number. */
export async function watch(database: ReturnType<typeof connect>): Promise<Watched> {
  const seen: TenantWatch[] = []
  for (const tenant of await allTenants(database))
    seen.push(await inTransaction(database, { tenant }, watchTenant))
  const sum = (of: (one: TenantWatch) => number): number => seen.reduce((total, one) => total + of(one), 0)
  const most = (of: (one: TenantWatch) => number): number => Math.round(Math.max(0, ...seen.map(of)))
  const hosts = sum((one) => one.hosts)
  return {
    outboxAgeS: most((one) => one.outbox_age_s),
    jobWaitingS: most((one) => one.job_waiting_s),
    buildersSilent: sum((one) => one.builders_silent),
    hostsSilentPercent: hosts === 0 ? 0 : Math.round((sum((one) => one.hosts_silent) / hosts) * 100),
    nonceHoursAhead: await nonceHoursAhead(database),
  }
}

/** Names of the metrics, for the log of the function. */
export const WATCHED = [
  'outboxAgeS',
  'jobWaitingS',
  'buildersSilent',
  'hostsSilentPercent',
  'nonceHoursAhead',
] as const satisfies readonly (keyof Watched)[]
