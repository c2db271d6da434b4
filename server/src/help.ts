export const HELP = `Crystal Forge: the control plane in one process

  npm start -- [options]

  --data-dir DIR   where database, objects, secrets and the first admin token are kept
                   (default: $XDG_STATE_HOME/crystal-forge or ~/.local/state/crystal-forge)
  --host HOST      address to listen on (default: 127.0.0.1)
  --port PORT      port to listen on (default: the one of the last start, or a free one)
  --check-config   read the configuration, name every error, change nothing
  -v, --verbose    log what the embedded database and object store say
  --version
  -h, --help

Environment:
  CRYSTAL_FORGE_CONFIG                a TOML file with the sections SERVER and DATABASE
                                      (default: /var/lib/crystal_forge/config.toml, where it is there)
  CRYSTAL_FORGE__SECTION__KEY         one setting over the file, e.g. CRYSTAL_FORGE__SERVER__PORT=3000
  DATABASE_URL                        a Postgres (18 or newer) instead of the embedded one
  CRYSTAL_FORGE__SERVER__POSTGRES_DIRECTORY
                                      initdb and postgres of Postgres 18 for the embedded database, in place of npm's
  AWS_ENDPOINT_URL                    an SQS and S3 endpoint instead of the embedded one
  CF_EPHEMERAL=1                      no fsync, for data that nobody will miss

Everything binds to loopback unless --host says otherwise. The secrets directory is readable by its owner only; the
embedded database asks for a password from it. The embedded object store and queues ask for nothing (SECURITY.md).

Exit codes: 0 stopped as asked, 1 failed, 2 the command line or the configuration is wrong.
`
