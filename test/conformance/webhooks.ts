import { verifyDelivery, type WebhookProvider } from '@crystal-forge/protocol'
import { type Answer, casesOf, Facts } from './case-file.ts'

/** Whether the delivery would be taken: the forge's signature holds, and its delivery id is new for this hook. */
export async function runWebhooks(file: unknown): Promise<readonly Answer[]> {
  const top = new Facts(file)
  const taken = new Set<string>()
  return casesOf(file).map(({ id, facts }) => {
    const provider = providerOf(facts.text('provider') ?? '')
    if (provider === undefined) return { id, accept: false, code: 'unknown_provider' }
    const fields = facts.fields('headers', 'fields')
    const secrets = [
      facts.text('secret'),
      facts.text('previous_secret', 'secret_previous'),
      ...facts.texts('secrets'),
    ]
    const answer = verifyDelivery({
      provider,
      secrets: secrets.filter((secret) => secret !== undefined),
      fields,
      body: facts.bytes('body'),
      now: clockOf(facts, top, fields),
    })
    if (!answer.ok) return { id, accept: false, code: answer.code }
    const delivery = `${provider} ${secrets.join(' ')} ${answer.deliveryId}`
    if (answer.deliveryId !== null && taken.has(delivery)) return { id, accept: false, code: 'replayed' }
    taken.add(delivery)
    return { id, accept: true, code: 'accepted' }
  })
}

/** A file without a clock cannot ask about staleness: the moment of the delivery itself stands in. */
function clockOf(facts: Facts, top: Facts, fields: readonly (readonly [string, string])[]): Date {
  const stated = facts.instant('now') ?? top.instant('now') ?? top.object('context').instant('now')
  if (stated !== undefined) return stated
  const sent = fields.find(([name]) => name.toLowerCase() === 'webhook-timestamp')?.[1]
  return sent !== undefined && /^[0-9]{1,11}$/.test(sent) ? new Date(Number(sent) * 1000) : new Date()
}

/** Files write a provider with its product or its scheme in any spelling: `bitbucket-cloud`, `GitLab (Standard Webhooks)`. */
function providerOf(name: string): WebhookProvider | undefined {
  const letters = name.toLowerCase().replace(/[^a-z]/g, '')
  return PROVIDERS.find(([part]) => letters.startsWith(part))?.[1]
}

const PROVIDERS: readonly (readonly [string, WebhookProvider])[] = [
  ['github', 'github'],
  ['gitlab', 'gitlab'],
  ['standard', 'gitlab'],
  ['gitea', 'gitea'],
  ['forgejo', 'forgejo'],
  ['bitbucket', 'bitbucket'],
]
