import { randomBytes } from 'node:crypto'
import {
  keyId,
  type Problem,
  parseRetryAfterMs,
  problem,
  publicKeyOfSeed,
  type SecretSeed,
  signRequest,
} from '@crystal-forge/protocol'
import type * as z from 'zod'

/** How a call to the control plane ended. Nothing is thrown for what the network or the control plane do. */
export type Answer<Body> =
  | { readonly kind: 'ok'; readonly body: Body }
  /** It understood and said no: calling again with the same body will not help. */
  | { readonly kind: 'refused'; readonly status: number; readonly code: string; readonly detail: string }
  /** Nobody knows whether it took effect; calling again is safe, because every effect is fenced. */
  | { readonly kind: 'unanswered'; readonly why: string; readonly retryAfterMs: number | undefined }

export type ControlPlane = {
  readonly keyId: string
  /** Signs and sends one request; one attempt. The signature lives for a minute and is never reused. */
  call<Schema extends z.ZodType>(
    path: string,
    body: unknown,
    answer: Schema,
    /** Ends the wait for the answer before the usual time. */
    signal?: AbortSignal,
  ): Promise<Answer<z.output<Schema>>>
}

export type ControlPlaneOptions = {
  /** `https://host`, without a path. */
  readonly serverUrl: string
  /** The public host that the control plane knows itself by, when it differs from the URL's. */
  readonly authority?: string | undefined
  readonly seed: SecretSeed
  readonly now?: () => Date
}

/** The builder's side of the profile of wire.md, tag `crystal-forge-builder-v1`. */
export function controlPlane(options: ControlPlaneOptions): ControlPlane {
  const url = new URL(options.serverUrl)
  const id = keyId(publicKeyOfSeed(options.seed))
  const now = options.now ?? (() => new Date())
  return {
    keyId: id,
    async call(path, body, answer, signal) {
      const bytes = Buffer.from(JSON.stringify(body))
      const headers = signRequest({
        method: 'POST',
        authority: options.authority ?? url.host,
        target: path,
        body: bytes,
        tag: 'crystal-forge-builder-v1',
        now: now(),
        seed: options.seed,
        keyId: id,
        nonce: randomBytes(18).toString('base64url'),
      })
      try {
        const timeout = AbortSignal.timeout(CALL_MS_MAX)
        const response = await fetch(new URL(path, url), {
          method: 'POST',
          headers: { ...headers },
          body: bytes,
          redirect: 'error',
          signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
        })
        return await read(response, answer, now())
      } catch (error) {
        return { kind: 'unanswered', why: reason(error), retryAfterMs: undefined }
      }
    },
  }
}

async function read<Schema extends z.ZodType>(
  response: Response,
  answer: Schema,
  now: Date,
): Promise<Answer<z.output<Schema>>> {
  const text = await limitedText(response)
  if (response.status >= 500 || response.status === 429) {
    const after = response.headers.get('retry-after')
    const retryAfterMs = after === null ? undefined : (parseRetryAfterMs(after, now) ?? undefined)
    return { kind: 'unanswered', why: `status ${response.status}`, retryAfterMs }
  }
  const json = parse(text)
  if (response.status >= 400) {
    const told: Problem | undefined = problem.safeParse(json).data
    return {
      kind: 'refused',
      status: response.status,
      code: told?.code ?? `status_${response.status}`,
      detail: told?.detail ?? text.slice(0, 300),
    }
  }
  const parsed = answer.safeParse(json)
  if (parsed.success) return { kind: 'ok', body: parsed.data }
  return {
    kind: 'refused',
    status: response.status,
    code: 'answer_not_understood',
    detail: `the control plane speaks a newer protocol: ${parsed.error.issues[0]?.path.join('.')} ${parsed.error.issues[0]?.message}`,
  }
}

/** @throws RangeError for an answer that no control plane gives. */
async function limitedText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength
    if (bytes > ANSWER_BYTES_MAX) throw new RangeError(`an answer of more than ${ANSWER_BYTES_MAX} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function reason(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message
}

/** API Gateway answers within 30 s or not at all. */
const CALL_MS_MAX = 35_000
/** A list of 8000 missing paths is about 1 MiB. */
const ANSWER_BYTES_MAX = 8 * 1024 * 1024
