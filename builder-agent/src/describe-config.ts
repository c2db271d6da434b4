import { keyId, publicKeyOfSeed, type SecretSeed } from '@crystal-forge/protocol'
import type { BuilderConfig } from './config.ts'

/** What the configuration comes to, for a person who checks it before the builder runs. */
export function describeConfig(config: BuilderConfig, seed: SecretSeed): string {
  const { build, destination, vulnix } = config
  const limits = build.use_systemd_scope
    ? `${build.systemd_memory_max} memory and ${build.systemd_cpu_quota} % of a processor each, where systemd runs`
    : 'without limits (build.use_systemd_scope is false)'
  const rows: readonly (readonly [string, string])[] = [
    ['control plane', config.server_url],
    ['builder key', `${keyId(publicKeyOfSeed(seed))}  (${config.private_key})`],
    ['state', config.state_directory],
    ['systems', config.systems.join(', ')],
    [
      'flakes from',
      [...config.forges, ...config.local_flakes].join(', ') || 'nowhere: builder.forges is empty',
    ],
    ['evaluations', `${config.concurrent_evaluations} at a time, ${config.evaluation_timeout} s each`],
    [
      'builds',
      `${build.max_concurrent_derivations} at a time, ${build.timeout || 'any number of'} s each, ${limits}`,
    ],
    ['sandbox', build.sandbox ? 'on, where it works' : 'off (build.sandbox is false)'],
    ['free space', `at least ${Math.floor(config.min_free_bytes / 1024 ** 2)} MiB, or no build is begun`],
    [
      'substituters',
      build.offline || !build.use_substitutes ? 'none' : build.substituters.join(', ') || 'none',
    ],
    ['cache', `the control plane's${destination === null ? '' : `, and ${elsewhere(destination)}`}`],
    ['scans', `${vulnix.timeout} s, feeds from ${vulnix.mirror ?? "vulnix's own mirror"}`],
  ]
  return rows.map(([name, value]) => `  ${name.padEnd(15)}${value}\n`).join('')
}

function elsewhere(destination: NonNullable<BuilderConfig['destination']>): string {
  switch (destination.kind) {
    case 'nix':
      return destination.url.replace(/\?.*$/, '')
    case 'attic':
      return `Attic ${destination.endpoint} (${destination.cacheName})`
  }
}
