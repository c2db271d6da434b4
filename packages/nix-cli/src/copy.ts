import type { StorePath } from '@crystal-forge/protocol'
import { answerOf, type NixCall, type NixFailure, nixSubcommand } from './nix-call.ts'

/**
 * Fetches a path with its closure from a cache into the store of the call. Signatures by one of the keys are required whatever else is
 * configured; they do not pin content-addressed paths, so the caller compares the closure afterwards.
 * @throws RangeError for a cache that is not a plain URL.
 */
export async function copyFrom(
  call: NixCall,
  copy: { readonly cache: string; readonly path: StorePath; readonly trustedPublicKeys: readonly string[] },
): Promise<{ readonly kind: 'copied' } | NixFailure> {
  const options = [
    '--option',
    'require-sigs',
    'true',
    '--option',
    'trusted-public-keys',
    copy.trustedPublicKeys.join(' '),
  ]
  return copied(nixSubcommand(call, ['copy'], ['--from', cacheUrl(copy.cache), ...options, '--', copy.path]))
}

/** Sends a path with its closure to a cache of plain Nix: `https://`, `ssh://`, `file://`. The compression is a parameter of that URL. */
export async function copyTo(
  call: NixCall,
  copy: { readonly cache: string; readonly path: StorePath },
): Promise<{ readonly kind: 'copied' } | NixFailure> {
  return copied(nixSubcommand(call, ['copy'], ['--to', cacheUrl(copy.cache), '--', copy.path]))
}

async function copied(
  command: Parameters<typeof answerOf>[0],
): Promise<{ readonly kind: 'copied' } | NixFailure> {
  const answer = await answerOf(command)
  return answer.kind === 'failed' ? answer : { kind: 'copied' }
}

function cacheUrl(url: string): string {
  if (!/^(https?|ssh|ssh-ng|file|s3):\/\/[!-~]+$/.test(url) || /:\/\/-|@-|:\/\/[^/]*:[^/]*@/.test(url)) {
    throw new RangeError(
      `not a cache: ${JSON.stringify(url.slice(0, 200))}; https://, ssh://, file:// or s3:// without credentials is expected`,
    )
  }
  return url
}
