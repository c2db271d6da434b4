import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto'

/**
 * What Postgres stores of a password (RFC 5803, `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`). Given in place of the
 * password, it keeps the password out of the server's log and statistics. For passwords of ASCII letters only: SASLprep,
 * which others need, is not applied.
 */
export function scramVerifier(password: string, salt: Buffer = randomBytes(16)): string {
  const salted = pbkdf2Sync(password, salt, ITERATIONS, 32, 'sha256')
  const clientKey = createHmac('sha256', salted).update('Client Key').digest()
  const storedKey = createHash('sha256').update(clientKey).digest('base64')
  const serverKey = createHmac('sha256', salted).update('Server Key').digest('base64')
  return `SCRAM-SHA-256$${ITERATIONS}:${salt.toString('base64')}$${storedKey}:${serverKey}`
}

/** Postgres' own default. The passwords have 256 random bits, so that more would protect nothing. */
const ITERATIONS = 4096
