import {
  type EnrolRequest,
  renderPublicKey,
  type SecretSeed,
  signRequestTwice,
} from '@crystal-forge/protocol'
import type { ControlPlane, HttpReply } from './control-plane.ts'
import { type HostKey, readHostKey, writeNewKey } from './key-files.ts'
import { freshNonce, isKeyKnown, postReport } from './send-report.ts'

/** How enrolment or rotation ended. `already` is an earlier attempt whose answer was lost. */
export type KeyOutcome =
  | {
      readonly kind: 'done' | 'already'
      readonly keyId: string
      readonly keyFile: string
      readonly system?: string
    }
  | { readonly kind: 'refused'; readonly because: string }
  | { readonly kind: 'unreachable'; readonly because: string }

/**
 * Enrols this host with a one-time token, which signs and is never sent. The key is on disk before it is sent, so an attempt that was
 * cut off is simply repeated: it uses the same key, and one that had arrived is recognised.
 * @throws Error when the key file cannot be read or written.
 */
export async function enroll(
  options: {
    readonly controlPlane: ControlPlane
    readonly keyFile: string
    readonly hostname: string
    readonly token: SecretSeed
    /** Which configuration of the flake this host follows; its host name when absent. */
    readonly configuration?: string
  },
  signal: AbortSignal,
): Promise<KeyOutcome> {
  const { controlPlane, hostname, configuration } = options
  const key = (await readHostKey(options.keyFile)) ?? (await writeNewKey(() => options.keyFile))
  const request: EnrolRequest = {
    v: 1,
    hostname,
    public_key: renderPublicKey(key.publicKey),
    ...(configuration === undefined ? {} : { configuration }),
  }
  const reply = await controlPlane.post(
    '/v1/enroll',
    new TextEncoder().encode(JSON.stringify(request)),
    (toSign) =>
      signRequestTwice(toSign, {
        new: { seed: key.seed, keyId: key.keyId, nonce: freshNonce() },
        boot: { seed: options.token, nonce: freshNonce() },
      }),
    signal,
  )
  if (reply.kind !== 'success') return await explain(reply, { controlPlane, hostname, key }, signal)
  const system = systemIn(reply.body)
  return { kind: 'done', keyId: key.keyId, keyFile: key.file, ...(system === null ? {} : { system }) }
}

/** A refusal may only mean that an earlier attempt had arrived: then the key is known already. */
export async function explain(
  reply: Exclude<HttpReply, { kind: 'success' }>,
  sender: { readonly controlPlane: ControlPlane; readonly hostname: string; readonly key: HostKey },
  signal: AbortSignal,
): Promise<KeyOutcome> {
  if (reply.kind === 'unreachable') return reply
  const { key, hostname } = sender
  if (await isTaken(sender.controlPlane, key, hostname, signal)) {
    return { kind: 'already', keyId: key.keyId, keyFile: key.file }
  }
  const words = [
    `${reply.status} ${reply.code ?? 'from something else than the control plane'}`,
    reply.detail,
  ]
  return { kind: 'refused', because: words.filter((word) => word !== null).join(': ') }
}

/** Asks with a heartbeat for a state that cannot exist: whoever is known is told to send its state, and nothing is recorded. */
async function isTaken(
  controlPlane: ControlPlane,
  key: HostKey,
  hostname: string,
  signal: AbortSignal,
): Promise<boolean> {
  const question = {
    v: 1,
    kind: 'heartbeat',
    report_id: freshNonce(),
    hostname,
    collected_at: new Date().toISOString(),
    state_digest: '0'.repeat(64),
  }
  const body = new TextEncoder().encode(JSON.stringify(question))
  return isKeyKnown(await postReport(controlPlane, body, key, signal))
}

function systemIn(answer: unknown): string | null {
  const system = typeof answer === 'object' && answer !== null && 'system' in answer ? answer.system : null
  return typeof system === 'string' && system.length <= 64 ? system : null
}
