import type { FlakeSource } from '@crystal-forge/protocol'

/** How a repository is named in evidence: a URL without credentials, branch or revision. */
export function repositoryName(source: FlakeSource): string {
  switch (source.kind) {
    case 'local':
      return `file://${source.path}`
    case 'forge':
      return `${source.via}://${source.host}/${source.owner}/${source.repo}`
  }
}
