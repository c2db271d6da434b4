import { pathToFileURL } from 'node:url'
import * as z from 'zod'

// The part of Lambda's runtime that a handler can notice: loads the bundle, then answers one event at a time.
const bundle = z.object({ handler: z.function({ input: [z.unknown(), z.unknown()], output: z.unknown() }) })
const call = z.object({ event: z.unknown(), requestId: z.string(), deadline: z.number() })

const tell = (message: object): void => {
  process.send?.(message)
}
const words = (error: unknown): string =>
  error instanceof Error ? (error.stack ?? error.message) : String(error)

try {
  const loaded: unknown = await import(pathToFileURL(process.argv[2] ?? '').href)
  const { handler } = bundle.parse(loaded)
  process.on('message', async (message) => {
    const { event, requestId, deadline } = call.parse(message)
    const context = {
      awsRequestId: requestId,
      callbackWaitsForEmptyEventLoop: true,
      getRemainingTimeInMillis: () => deadline - Date.now(),
    }
    try {
      tell({ kind: 'answer', answer: await handler(event, context) })
    } catch (error) {
      tell({ kind: 'failed', why: words(error) })
    }
  })
  tell({ kind: 'ready' })
} catch (error) {
  tell({ kind: 'init-failed', why: words(error) })
  process.disconnect?.()
}
