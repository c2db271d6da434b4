import type { BuilderHello } from '@crystal-forge/protocol'
import type { Database } from './connect.ts'

const HELLO = `
update builder set nix_version = $2, systems = $3, scanner = $4, isolation = $5, last_seen_at = now() where id = $1`

/** What a builder can do, as it says itself. Jobs for machines that are not among its systems are not given to it. */
export async function greetBuilder(
  transaction: Database,
  builder: string,
  hello: BuilderHello,
): Promise<void> {
  const { nix_version, systems, scanner, isolation } = hello
  await transaction.query(HELLO, [builder, nix_version, systems, scanner, isolation])
}

const SEEN = `
update builder set last_seen_at = now()
where id = $1 and (last_seen_at is null or last_seen_at < now() - interval '15 seconds')`

/** Keeps `last_seen_at` fresh without a write for every request. */
export async function builderSeen(transaction: Database, builder: string): Promise<void> {
  await transaction.query({ name: 'builder_seen', text: SEEN, values: [builder] })
}
