import { type Database, expireWaivers, notifyWaivers } from '@crystal-forge/postgres'

/**
 * What the clock does to waivers: those that are over expire, and of those that end soon it is said 30, 7 and 1 days before.
 * Both are events, written in the transaction of what they are about: once, whatever breaks off.
 */
export async function turnWaivers(
  transaction: Database,
  most: number,
): Promise<{ readonly waivers: number; readonly notices: number }> {
  const waivers = await expireWaivers(transaction, most)
  return { waivers, notices: await notifyWaivers(transaction, most) }
}
