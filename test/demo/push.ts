import { createHmac, randomUUID } from 'node:crypto'

/** Delivers a push the way GitHub does: HMAC over the body, a delivery id, the event in a header. */
export async function deliverPush(options: {
  readonly url: string
  readonly secret: string
  readonly cloneUrl: string
  readonly branch: string
  readonly rev: string
}): Promise<{ status: number; body: unknown }> {
  const body = JSON.stringify({
    ref: `refs/heads/${options.branch}`,
    after: options.rev,
    repository: { clone_url: options.cloneUrl },
    head_commit: { id: options.rev, timestamp: new Date().toISOString(), message: 'push' },
  })
  const response = await fetch(options.url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'x-github-event': 'push',
      'x-github-delivery': randomUUID(),
      'x-hub-signature-256': `sha256=${createHmac('sha256', options.secret).update(body).digest('hex')}`,
    },
    body,
  })
  return { status: response.status, body: await response.json().catch(() => undefined) }
}
