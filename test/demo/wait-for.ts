import { setTimeout as sleep } from 'node:timers/promises'

/** Asks again and again until `look` gives something; says what it waited for when it does not. */
export async function waitFor<Found>(
  what: string,
  look: () => Promise<Found | undefined>,
  patienceMs: number = PATIENCE_MS,
): Promise<Found> {
  const deadline = Date.now() + patienceMs
  for (;;) {
    const found = await look()
    if (found !== undefined) return found
    if (Date.now() > deadline) throw new Error(`waited ${patienceMs / 1000} s for: ${what}`)
    await sleep(100)
  }
}

/** Long enough for a slow machine that loses a lease on the way; the demo itself takes a fraction. */
const PATIENCE_MS = 120_000
