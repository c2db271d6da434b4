import { type RotateKeyRequest, renderPublicKey, signRequestTwice } from '@crystal-forge/protocol'
import type { ControlPlane, HttpReply } from './control-plane.ts'
import { explain, type KeyOutcome } from './enroll.ts'
import type { HostKeys } from './host-keys.ts'
import { freshNonce, isKeyRefused } from './send-report.ts'

/**
 * Replaces the key of this host. The new key is on disk before it is sent and takes the place of the old one when the control plane has
 * taken it. Until then both are kept and a running agent tries both, so that an answer that is lost locks nobody out; repeating the command
 * finishes what was begun.
 * @throws Error when a key file cannot be read or written.
 */
export async function rotateKey(
  options: { readonly controlPlane: ControlPlane; readonly keys: HostKeys; readonly hostname: string },
  signal: AbortSignal,
): Promise<KeyOutcome> {
  const { controlPlane, keys, hostname } = options
  const key = await keys.begin()
  const present = (await keys.candidates()).filter(({ keyId }) => keyId !== key.keyId)
  const request: RotateKeyRequest = { v: 1, hostname, public_key: renderPublicKey(key.publicKey) }
  const body = new TextEncoder().encode(JSON.stringify(request))
  let reply: HttpReply = { kind: 'unreachable', because: 'there is no key' }
  for (const old of present) {
    const sign = (toSign: Parameters<Parameters<ControlPlane['post']>[2]>[0]) =>
      signRequestTwice(toSign, {
        new: { seed: key.seed, keyId: key.keyId, nonce: freshNonce() },
        old: { seed: old.seed, keyId: old.keyId, nonce: freshNonce() },
      })
    reply = await controlPlane.post('/v1/agent/keys', body, sign, signal)
    // Behind the first lies a key of a command that ran beside, or what a control plane knows that was set back.
    if (!isKeyRefused(reply)) break
  }
  const outcome: KeyOutcome =
    reply.kind === 'success'
      ? { kind: 'done', keyId: key.keyId, keyFile: key.file }
      : await explain(reply, { controlPlane, hostname, key }, signal)
  if (outcome.kind !== 'done' && outcome.kind !== 'already') return outcome
  const now = await keys.taken(key)
  return { ...outcome, keyFile: now.file }
}
