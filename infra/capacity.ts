/**
 * How many instances of each function may run at once. Each holds one connection, so their sum is bounded by the database,
 * not by Lambda: `databaseConnections`.
 */
export const CONCURRENCY = {
  'agent-reports': 20,
  'agent-keys': 3,
  'original-wire': 5,
  webhooks: 4,
  'builder-jobs': 10,
  'builder-cache': 5,
  'operator-api': 8,
  'controls-api': 4,
  status: 2,
  // Two from the queue, which is the least that SQS allows, and one from the schedule.
  'relay-outbox': 3,
  sweep: 1,
  migrations: 1,
  'first-secrets': 1,
} as const

export type FunctionName = keyof typeof CONCURRENCY

/** All instances of all functions that connect, plus what RDS and a person with a console need. */
export function connectionsNeeded(): number {
  const { 'first-secrets': _, ...connecting } = CONCURRENCY
  return Object.values(connecting).reduce((sum, one) => sum + one, 0) + SPARE_CONNECTIONS
}

/**
 * `max_connections` of RDS for a class: memory / 9531392 bytes, where a quarter of the memory is counted off for the
 * system. Undefined for a class that is not in the table.
 */
export function databaseConnections(databaseClass: string): number | undefined {
  const gib = MEMORY_GIB[databaseClass.split('.')[1] ?? '']
  return gib === undefined ? undefined : Math.min(5000, Math.floor((gib * 0.75 * 2 ** 30) / 9_531_392))
}

const SPARE_CONNECTIONS = 8

const MEMORY_GIB: Readonly<Record<string, number>> = {
  micro: 1,
  small: 2,
  medium: 4,
  large: 8,
  xlarge: 16,
  '2xlarge': 32,
  '4xlarge': 64,
  '8xlarge': 128,
}

/** Longest run of each function, below the 30 s of API Gateway. */
export const TIMEOUT_S: Readonly<Record<FunctionName, number>> = {
  'agent-reports': 15,
  'agent-keys': 15,
  'original-wire': 15,
  webhooks: 15,
  'builder-jobs': 25,
  'builder-cache': 29,
  'operator-api': 29,
  'controls-api': 29,
  status: 10,
  'relay-outbox': 30,
  sweep: 50,
  migrations: 900,
  'first-secrets': 60,
}
