import { execFile } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, describe, expect, it } from 'vitest'
import * as z from 'zod'
import { canReach } from '../../server/src/account.ts'
import { embeddedBinaries } from '../../server/src/postgres-binaries.ts'
import { evaluateNix, nix } from './evaluate.ts'

/** Users of NixOS that exist in the mount namespace of the test alone, so that Postgres knows who calls over its socket. */
const USERS = { postgres: 40_001, 'crystal-forge': 40_002, grafana: 40_003, stranger: 40_004 }

const made = z.object({
  authentication: z.string(),
  identMap: z.string(),
  ensureDatabases: z.array(z.string()),
  users: z.array(z.object({ name: z.string(), clauses: z.array(z.string()) })),
  prepare: z.string(),
  grafana: z.string(),
  server: z.record(z.string(), z.record(z.string(), z.json())),
})

const root = join(import.meta.dirname, '../..')
const answers = await cannot()

describe.skipIf(nix.version === null || answers !== '')(
  `the database of one machine, set up as NixOS does it ${nix.note} ${answers}`,
  () => {
    const directories: string[] = []
    afterAll(() => {
      for (const directory of directories) rmSync(directory, { recursive: true, force: true })
    })

    it.each(['without passwords', 'with passwords'])(
      'lets in the server, its owner and Grafana, and nobody else: %s',
      async (passwords) => {
        const directory = mkdtempSync(join(tmpdir(), 'database-'))
        directories.push(directory)
        const script = await prepare(directory, passwords)
        const { stdout } = await promisify(execFile)(
          'unshare',
          ['--mount', 'bash', '-euo', 'pipefail', script],
          {
            env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
            timeout: 170_000,
          },
        )
        expect(
          Object.fromEntries(
            stdout
              .trim()
              .split('\n')
              .map((line) => line.split(': ')),
          ),
        ).toEqual({
          status: 'healthy',
          'server by socket': 'crystal_forge',
          'superuser by socket': 'postgres',
          'grafana by socket': passwords === 'with passwords' ? 'refused' : 'default',
          'grafana with password': passwords === 'with passwords' ? 'default' : 'refused',
          'grafana reads secrets': 'refused',
          'stranger as owner': 'refused',
          'stranger as grafana': 'refused',
          'owner over the network without password': 'refused',
          'owner over the network with password':
            passwords === 'with passwords' ? 'crystal_forge' : 'refused',
          'log tells a password': 'no',
        })
      },
      180_000,
    )
  },
)

async function cannot(): Promise<string> {
  if (process.getuid?.() !== 0) return '(skipped: needs root)'
  for (const program of ['psql', 'unshare', 'setpriv'])
    if (
      !(await promisify(execFile)(program, ['--version']).then(
        () => true,
        () => false,
      ))
    )
      return `(skipped: ${program} is not installed)`
  const reads = await canReach(root, {
    uid: USERS['crystal-forge'],
    gid: USERS['crystal-forge'],
    switchTo: true,
  })
  return reads ? '' : '(skipped: other users cannot read this checkout)'
}

/** Writes everything that the script needs, and the script. */
async function prepare(directory: string, passwords: string): Promise<string> {
  chmodSync(directory, 0o755)
  const socket = join(directory, 'socket')
  const unit = made.parse(await evaluateNix('local-database.nix', { socket, passwords }))
  const own = (path: string, uid: number): void => {
    mkdirSync(path, { recursive: true })
    chownSync(path, uid, uid)
  }
  own(socket, USERS.postgres)
  own(join(directory, 'postgres'), USERS.postgres)
  own(join(directory, 'state'), USERS['crystal-forge'])
  const write = (name: string, text: string, mode = 0o644): void =>
    writeFileSync(join(directory, name), text, { mode })
  write(
    'passwd',
    [
      'root:x:0:0::/:/bin/sh',
      ...Object.entries(USERS).map(([name, uid]) => `${name}:x:${uid}:${uid}::/:/bin/sh`),
      '',
    ].join('\n'),
  )
  write('pg_hba.conf', unit.authentication)
  write('pg_ident.conf', unit.identMap)
  write('prepare.sh', unit.prepare)
  write('grafana.sh', unit.grafana)
  write('password', `${PASSWORD}\n`)
  write(
    'server.json',
    JSON.stringify({
      ...unit.server,
      DATABASE: {
        ...unit.server['DATABASE'],
        ...(passwords === 'with passwords' ? { PASSWORD_FILE: join(directory, 'password') } : {}),
      },
    }),
  )
  write(
    'ensure.sql',
    [
      ...unit.users.map(({ name, clauses }) => `create role "${name}" login ${clauses.join(' ')};`),
      ...unit.ensureDatabases.map((name) => `create database "${name}" owner "${name}";`),
    ].join('\n'),
  )
  const { initdb, postgres } = await embeddedBinaries({
    account: { uid: USERS.postgres, gid: USERS.postgres, switchTo: true },
    log: () => {},
  })
  write('test.sh', scriptFor({ directory, initdb, postgres, port: await freePort(), http: await freePort() }))
  return join(directory, 'test.sh')
}

type Placed = {
  readonly directory: string
  readonly initdb: string
  readonly postgres: string
  readonly port: number
  readonly http: number
}

function scriptFor({ directory, initdb, postgres, port, http }: Placed): string {
  return `
cd ${directory}
mount --bind passwd /etc/passwd
become() { local user=$1; shift; local id; id=$(id -u "$user"); exec setpriv --reuid "$id" --regid "$id" --clear-groups -- "$@"; }
as() { ( become "$@" ); }
export PGHOST=${directory}/socket PGPORT=${port} CREDENTIALS_DIRECTORY=${directory} LC_ALL=C
as postgres ${initdb} -D ${directory}/postgres/data -A peer -U postgres --no-sync --no-instructions > initdb.log 2>&1
cp pg_hba.conf pg_ident.conf postgres/data/
( become postgres ${postgres} -D ${directory}/postgres/data -k ${directory}/socket -p ${port} -c listen_addresses=127.0.0.1 -c fsync=off -c log_statement=all > postgres.log 2>&1 ) &
database=$!
trap 'kill $server 2>/dev/null || true; wait $server 2>/dev/null || true; kill -INT $database; wait $database || true' EXIT
server=
until as postgres psql -Atc 'select 1' postgres > /dev/null 2>&1; do kill -0 $database || { cat postgres.log >&2; exit 1; }; sleep 0.2; done
as postgres psql --quiet -v ON_ERROR_STOP=1 -f ensure.sql postgres
as postgres bash -euo pipefail prepare.sh
( export CRYSTAL_FORGE_CONFIG=${directory}/server.json CRYSTAL_FORGE__SERVER__PORT=${http} CRYSTAL_FORGE__DATABASE__PORT=${port} CRYSTAL_FORGE__SERVER__DATA_DIRECTORY=${directory}/state HOME=${directory}/state
  become crystal-forge ${process.execPath} ${root}/server/src/main.ts > server.log 2>&1 ) &
server=$!
until curl -sf http://127.0.0.1:${http}/status > status.json; do kill -0 $server || { cat server.log >&2; exit 1; }; sleep 0.3; done
echo "status: $(grep -o healthy status.json | head -1)"
as postgres bash -euo pipefail grafana.sh
as postgres bash -euo pipefail grafana.sh
ask() { echo "$1: $(shift; "$@" 2>/dev/null || echo refused)"; }
user='select current_user'
ask 'server by socket' as crystal-forge psql -w -U crystal_forge -Atc "$user" crystal_forge
ask 'superuser by socket' as postgres psql -w -Atc "$user" crystal_forge
ask 'grafana by socket' as grafana psql -w -U grafana -Atc 'select name from tenant' crystal_forge
ask 'grafana with password' as stranger env PGPASSWORD=${PASSWORD} psql -w -U grafana -Atc 'select name from tenant' crystal_forge
ask 'grafana reads secrets' as grafana env PGPASSWORD=${PASSWORD} psql -w -U grafana -Atc 'select name from api_token' crystal_forge
ask 'stranger as owner' as stranger psql -w -U crystal_forge -Atc "$user" crystal_forge
ask 'stranger as grafana' as stranger psql -w -U grafana -Atc "$user" crystal_forge
ask 'owner over the network without password' as crystal-forge psql -w -h 127.0.0.1 -U crystal_forge -Atc "$user" crystal_forge
ask 'owner over the network with password' as stranger env PGPASSWORD=${PASSWORD} psql -w -h 127.0.0.1 -U crystal_forge -Atc "$user" crystal_forge
if grep -q ${PASSWORD} postgres.log server.log; then echo 'log tells a password: yes'; else echo 'log tells a password: no'; fi
`
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => resolve(address !== null && typeof address === 'object' ? address.port : 0))
    })
  })
}

const PASSWORD = 'Password-that-nothing-may-tell'
