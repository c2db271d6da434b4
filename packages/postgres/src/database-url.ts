import { isIP } from 'node:net'
import type { ConnectOptions } from './connect.ts'

/** The part of the connection that a URL says. */
export type DatabaseTarget = Pick<ConnectOptions, 'host' | 'port' | 'database' | 'user' | 'tls'> & {
  readonly password: string | undefined
  /** A PEM file of authorities that the caller reads into `tls.ca`. */
  readonly caFile: string | undefined
}

/**
 * Reads `postgres://user:password@host:port/database`. A Unix socket is written as `?host=/run/postgresql` or as an
 * encoded host. TLS with full verification is the rule, except on loopback and sockets; `?sslmode=disable` and
 * `?sslmode=verify-full` say it explicitly, and `?sslrootcert=FILE` names the authorities. The weaker modes of libpq
 * are refused. Errors never hold the password.
 */
export function readDatabaseUrl(text: string): DatabaseTarget {
  const url = parse(text)
  const parameters = knownParameters(url.searchParams)
  const host =
    parameters.host ?? (decode(url.hostname, 'host').replace(/^\[|\]$/g, '') || refuse('names no host'))
  const database = decode(url.pathname.slice(1), 'database') || refuse('names no database after the host')
  const user = decode(url.username, 'user') || parameters.user || refuse('names no user')
  return {
    host,
    port: url.port === '' ? POSTGRES_PORT : Number(url.port),
    database,
    user,
    password: decode(url.password, 'password') || undefined,
    tls: wantsTls(parameters.sslmode, host) ? { servername: host } : undefined,
    caFile: parameters.sslrootcert,
  }
}

function parse(text: string): URL {
  const url = URL.canParse(text)
    ? new URL(text)
    : refuse('is not a URL such as postgres://user@host:5432/database')
  if (url.protocol !== 'postgres:' && url.protocol !== 'postgresql:') {
    refuse(`begins with ${JSON.stringify(url.protocol)}: write postgres://`)
  }
  if (url.hash !== '') refuse('holds an unencoded "#": write %23')
  return url
}

type Parameters = { readonly [name in (typeof PARAMETERS)[number]]?: string }

function knownParameters(search: URLSearchParams): Parameters {
  const found: { [name: string]: string } = {}
  for (const [name, value] of search) {
    if (!PARAMETERS.some((known) => known === name)) {
      refuse(`holds the parameter ${JSON.stringify(name)}: known are ${PARAMETERS.join(', ')}`)
    }
    if (name in found) refuse(`holds the parameter ${JSON.stringify(name)} twice`)
    found[name] = value
  }
  return found
}

function wantsTls(sslmode: string | undefined, host: string): boolean {
  switch (sslmode) {
    case 'disable':
      return false
    case 'verify-full':
      return true
    case undefined:
      return !isLocal(host)
    default:
      return refuse(
        `asks for sslmode=${sslmode}, which does not check whom it talks to: write verify-full or disable`,
      )
  }
}

function isLocal(host: string): boolean {
  return (
    host.startsWith('/') ||
    host === 'localhost' ||
    host === '::1' ||
    (isIP(host) === 4 && host.startsWith('127.'))
  )
}

function decode(part: string, name: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return refuse(`has a ${name} with a "%" that encodes nothing: write %25`)
  }
}

function refuse(why: string): never {
  throw new RangeError(`the database URL ${why}`)
}

const PARAMETERS = ['host', 'user', 'sslmode', 'sslrootcert'] as const
const POSTGRES_PORT = 5432
