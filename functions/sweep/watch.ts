import {
  allTenants,
  archiveAgeS,
  type connect,
  expiringWaivers,
  inTransaction,
  nonceHoursAhead,
  type TenantWatch,
  watchTenant,
} from '@crystal-forge/postgres'

/** One line a minute that alarms read: what grows when something stands still, and what ends soon. */
export type Watched = {
  readonly outboxAgeS: number
  readonly jobWaitingS: number
  readonly buildersSilent: number
  readonly hostsSilentPercent: number
  readonly nonceHoursAhead: number
  readonly tokensEnding: number
  readonly keyAgeDays: number
  /** Approved waivers that end within 30 days. */
  readonly waiversExpiring: number
  /** Below 0 when it has ended; absent when there is none. */
  readonly revocationListDaysLeft?: number
  /** How much of the past a restore from the archive could not bring back; absent when the database keeps no archive. */
  readonly backupAgeS?: number
}

export type Watch = {
  readonly database: ReturnType<typeof connect>
  readonly expiryDays: number
  readonly revocationListEndsAt: Date | undefined
  readonly now: () => Date
}

/** The worst of all tenants where it is an age, and the sum where it is a number. */
export async function watch({ database, expiryDays, revocationListEndsAt, now }: Watch): Promise<Watched> {
  const seen: (TenantWatch & { waivers_expiring: number })[] = []
  for (const tenant of await allTenants(database))
    seen.push(
      await inTransaction(database, { tenant }, async (transaction) => ({
        ...(await watchTenant(transaction, { expiryDays })),
        waivers_expiring: await expiringWaivers(transaction),
      })),
    )
  const sum = (of: (one: (typeof seen)[number]) => number): number =>
    seen.reduce((total, one) => total + of(one), 0)
  const most = (of: (one: TenantWatch) => number): number => Math.round(Math.max(0, ...seen.map(of)))
  const hosts = sum((one) => one.hosts)
  const backupAge = await archiveAgeS(database)
  return {
    outboxAgeS: most((one) => one.outbox_age_s),
    jobWaitingS: most((one) => one.job_waiting_s),
    buildersSilent: sum((one) => one.builders_silent),
    hostsSilentPercent: hosts === 0 ? 0 : Math.round((sum((one) => one.hosts_silent) / hosts) * 100),
    nonceHoursAhead: await nonceHoursAhead(database),
    tokensEnding: sum((one) => one.tokens_ending),
    keyAgeDays: most((one) => one.key_age_days),
    waiversExpiring: sum((one) => one.waivers_expiring),
    ...(revocationListEndsAt === undefined
      ? {}
      : { revocationListDaysLeft: Math.floor((revocationListEndsAt.getTime() - now().getTime()) / DAY_MS) }),
    ...(backupAge === undefined ? {} : { backupAgeS: Math.round(backupAge) }),
  }
}

/** Metrics, which cost by the name: what an alarm reads. The dashboard asks the log for the rest of the line. */
export const WATCHED = [
  'outboxAgeS',
  'jobWaitingS',
  'buildersSilent',
  'hostsSilentPercent',
  'nonceHoursAhead',
  'tokensEnding',
  'keyAgeDays',
  'revocationListDaysLeft',
  'backupAgeS',
] as const satisfies readonly (keyof Watched)[]

const DAY_MS = 86_400_000
