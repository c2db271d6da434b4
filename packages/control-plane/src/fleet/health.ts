export const HEALTHS = ['healthy', 'warning', 'critical', 'offline', 'never_seen'] as const
export type Health = (typeof HEALTHS)[number]

/**
 * How long a host has been silent, by the original's thresholds: 15 minutes, 1 hour, 4 hours. A clock that runs ahead
 * counts as now. `system_health` in SQL is the same rule for lists.
 */
export function healthOf(seenAt: Date | null, now: Date): Health {
  if (seenAt === null) return 'never_seen'
  const silentMs = now.getTime() - seenAt.getTime()
  if (silentMs < 15 * MINUTE_MS) return 'healthy'
  if (silentMs < 60 * MINUTE_MS) return 'warning'
  return silentMs < 240 * MINUTE_MS ? 'critical' : 'offline'
}

const MINUTE_MS = 60_000
