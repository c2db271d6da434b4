import { createHmac } from 'node:crypto'
import { rev } from '../pipeline/world.ts'
import type { RawRequest } from './raw-http.ts'
import { bytesOf } from './signed-call.ts'

/** The body of a push to the watched branch. */
export function push(changes: object = {}): object {
  return {
    ref: 'refs/heads/main',
    after: rev('two'),
    repository: { clone_url: 'https://git.example.com/acme/fleet' },
    ...changes,
  }
}

let deliveries = 0

/** A delivery of GitHub with the right signature. */
export function deliveryOf(
  {
    authority,
    hookPath,
    hookSecret,
  }: { readonly authority: string; readonly hookPath: string; readonly hookSecret: string },
  body: unknown,
  options: { readonly event?: string; readonly secret?: string; readonly path?: string } = {},
): RawRequest {
  const bytes = bytesOf(body)
  const { event = 'push', secret = hookSecret, path = hookPath } = options
  deliveries += 1
  return {
    method: 'POST',
    target: path,
    body: bytes,
    headers: [
      ['host', authority],
      ['content-type', 'application/json'],
      ['x-github-event', event],
      ['x-github-delivery', `delivery-${deliveries}`],
      ['x-hub-signature-256', `sha256=${createHmac('sha256', secret).update(bytes).digest('hex')}`],
    ],
  }
}
