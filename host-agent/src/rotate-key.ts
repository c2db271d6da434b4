import { type RotateKeyRequest, renderPublicKey, signRequestTwice } from '@crystal-forge/protocol'
import type { ControlPlane } from './control-plane.ts'
import { explain, type KeyOutcome } from './enroll.ts'
import { pendingKeyFile, promotePendingKey, readHostKey, writeNewKey } from './key-files.ts'
import { freshNonce } from './send-report.ts'

/**
 * Replaces the key of this host. The new key lies beside the old one before it is sent and takes its place when the control plane has taken
 * it. Until then both are kept and a running agent tries both, so that an answer that is lost locks nobody out; repeating the command
 * finishes what was begun.
 * @throws Error when a key file cannot be read or written.
 */
export async function rotateKey(
  options: { readonly controlPlane: ControlPlane; readonly keyFile: string; readonly hostname: string },
  signal: AbortSignal,
): Promise<KeyOutcome> {
  const { controlPlane, keyFile, hostname } = options
  const old = await readHostKey(keyFile)
  if (old === null)
    throw new Error(`there is no key in ${keyFile}; enroll this host with "host-agent enroll"`)
  const pending = pendingKeyFile(keyFile)
  const key = (await readHostKey(pending)) ?? (await writeNewKey(pending))
  const request: RotateKeyRequest = { v: 1, hostname, public_key: renderPublicKey(key.publicKey) }
  const reply = await controlPlane.post(
    '/v1/agent/keys',
    new TextEncoder().encode(JSON.stringify(request)),
    (toSign) =>
      signRequestTwice(toSign, {
        new: { seed: key.seed, keyId: key.keyId, nonce: freshNonce() },
        old: { seed: old.seed, keyId: old.keyId, nonce: freshNonce() },
      }),
    signal,
  )
  const outcome: KeyOutcome =
    reply.kind === 'success'
      ? { kind: 'done', keyId: key.keyId, keyFile }
      : await explain(reply, { controlPlane, hostname, key }, signal)
  if (outcome.kind !== 'done' && outcome.kind !== 'already') return outcome
  await promotePendingKey(keyFile)
  return { ...outcome, keyFile }
}
