import { join } from 'node:path'

/** How git may reach a repository. Every secret is a file; nothing secret is ever part of a command line. */
export type GitAccess = {
  /** Whether `file://` repositories may be read; only for flakes that an administrator declared local. */
  readonly localAllowed: boolean
  readonly sshKeyFile?: string
  readonly knownHostsFile?: string
  readonly netrcFile?: string
  readonly caFile?: string
}

/**
 * The whole environment for git, also when Nix runs it: no prompts, no hooks, no configuration of the machine or its users, https and ssh only.
 * @throws RangeError for a file name that a shell would read as more than a file name.
 */
export function gitEnvironment(options: {
  readonly path: string
  readonly home: string
  readonly access: GitAccess
}): Readonly<Record<string, string>> {
  const { access, home } = options
  const config: readonly (readonly [string, string])[] = [
    ...HARMLESS,
    // A repository that is read on purpose may belong to another user; it is only ever fetched from.
    ...(access.localAllowed ? [['safe.directory', '*'] as const] : []),
  ]
  return {
    PATH: options.path,
    HOME: home,
    XDG_CACHE_HOME: join(home, 'cache'),
    XDG_CONFIG_HOME: join(home, 'config'),
    LC_ALL: 'C',
    GIT_TERMINAL_PROMPT: '0',
    GIT_ASKPASS: '',
    SSH_ASKPASS: '',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_ALLOW_PROTOCOL: access.localAllowed ? 'https:ssh:file' : 'https:ssh',
    GIT_SSH_COMMAND: sshCommand(access),
    GIT_CONFIG_COUNT: String(config.length),
    ...Object.fromEntries(
      config.flatMap(([key, value], index) => [
        [`GIT_CONFIG_KEY_${index}`, key],
        [`GIT_CONFIG_VALUE_${index}`, value],
      ]),
    ),
    ...(access.caFile === undefined ? {} : { GIT_SSL_CAINFO: plainFile('caFile', access.caFile) }),
  }
}

/** git hands this text to a shell, so it is made of constants and of file names that contain nothing a shell reads. */
function sshCommand(access: GitAccess): string {
  const options = ['BatchMode=yes', 'StrictHostKeyChecking=yes', 'ConnectTimeout=15', 'ForwardAgent=no']
  if (access.knownHostsFile !== undefined) {
    options.push(
      `UserKnownHostsFile=${plainFile('knownHostsFile', access.knownHostsFile)}`,
      'GlobalKnownHostsFile=/dev/null',
    )
  }
  const key =
    access.sshKeyFile === undefined
      ? []
      : ['-o', 'IdentitiesOnly=yes', '-i', plainFile('sshKeyFile', access.sshKeyFile)]
  return ['ssh', '-F', '/dev/null', ...options.flatMap((option) => ['-o', option]), ...key].join(' ')
}

function plainFile(name: string, path: string): string {
  if (!/^(\/[A-Za-z0-9_.@+-]+)+$/.test(path)) {
    throw new RangeError(
      `${name} must be an absolute path of letters, digits and _.@+-: ${JSON.stringify(path)}`,
    )
  }
  return path
}

const HARMLESS: readonly (readonly [string, string])[] = [
  ['core.hooksPath', '/dev/null'],
  ['core.fsmonitor', 'false'],
  ['credential.helper', ''],
  ['gc.auto', '0'],
  ['maintenance.auto', 'false'],
  ['advice.detachedHead', 'false'],
  ['init.defaultBranch', 'main'],
  ['http.followRedirects', 'initial'],
  // A forge that stalls is given up after a minute instead of holding the job.
  ['http.lowSpeedLimit', '1000'],
  ['http.lowSpeedTime', '60'],
]
