import {
  addSystemKey,
  isDuplicate,
  recordEvent,
  revokeKey,
  showDrift,
  switchOriginalWire,
  unknownHosts,
} from '@crystal-forge/postgres'
import {
  checkEnrolmentKey,
  hostname,
  instant,
  keyId,
  line,
  parsePublicKey,
  publicKeyText,
} from '@crystal-forge/protocol'
import * as z from 'zod'
import { problem, type Reply } from '../http-api.ts'
import {
  type Context,
  change,
  type Endpoints,
  type OperatorEndpoint,
  parameter,
  unknown,
} from '../operator-endpoint.ts'

/** Keys of hosts and builders, and which of them may still speak the original's wire. */
export function keyEndpoints(context: Context): Endpoints {
  return {
    'POST /v1/systems/{system}/keys': addKey(context),
    'POST /v1/keys/{key}/revoke': change(
      context,
      revocation,
      async (transaction, { request, body, actor }) => {
        const text = parameter(request, 'key')
        // A path holds no colon, so the part before it is left out there.
        const id = `ed25519:${text}`
        const because = body.because ?? 'revoked by an operator'
        const revoked = await revokeKey(transaction, id, because)
        if (revoked === null) return unknown('key', text)
        const detail = { key: id, owner: revoked.owner, name: revoked.name, because }
        if (revoked.fresh) await recordEvent(transaction, { type: 'key.revoked', actor, detail })
        return {
          status: 200,
          body: { key_id: id, owner: revoked.owner, name: revoked.name, status: 'revoked' },
        }
      },
    ),
    'POST /v1/original-wire': originalWire(context),
  }
}

const revocation = z.strictObject({ because: line(500).optional() })
const newKey = z.strictObject({ public_key: publicKeyText })

/** A further key beside the present ones, for a rotation that an operator does by hand. */
function addKey(context: Context): OperatorEndpoint {
  const endpoint = change(context, newKey, async (transaction, { request, body, actor }): Promise<Reply> => {
    const name = parameter(request, 'system')
    const system = await showDrift(transaction, name)
    if (system === null || !system.active) return unknown('system', name)
    const publicKey = parsePublicKey(body.public_key)
    const fault = publicKey === null ? 'encoding' : checkEnrolmentKey(publicKey)
    if (publicKey === null || fault !== null)
      return problem(
        422,
        'key_refused',
        `public_key is not a sound Ed25519 key (${fault}): make a new pair with cf keygen`,
      )
    const id = keyId(publicKey)
    await addSystemKey(transaction, { system: system.system_id, keyId: id, publicKey })
    const detail = { change: 'key.added', system: system.system_id, hostname: system.hostname, key: id }
    await recordEvent(transaction, { type: 'config.changed', actor, detail })
    return { status: 201, body: { key_id: id, hostname: system.hostname } }
  })
  return async (call) => {
    try {
      return await endpoint(call)
    } catch (error) {
      if (!isDuplicate(error)) throw error
      return problem(
        409,
        'key_in_use',
        'public_key is registered already, here or elsewhere: make a new pair with cf keygen',
      )
    }
  }
}

const wireOrder = z.strictObject({
  until: instant.nullable(),
  systems: z.array(hostname).min(1).max(5000).optional(),
})

function originalWire(context: Context): OperatorEndpoint {
  return change(context, wireOrder, async (transaction, { body, actor }) => {
    const now = context.now()
    const until = body.until === null ? null : new Date(body.until)
    if (until !== null && (until <= now || until.getTime() > now.getTime() + WIRE_MS_MAX))
      return problem(
        422,
        'invalid_body',
        `until is ${JSON.stringify(body.until)}: expected a time within the next year`,
      )
    const systems = body.systems ?? null
    const [unknownHost] = systems === null ? [] : await unknownHosts(transaction, systems)
    if (unknownHost !== undefined) return unknown('system', unknownHost)
    const hosts = await switchOriginalWire(transaction, { until, systems })
    const detail = {
      change: 'original_wire',
      until: until?.toISOString() ?? null,
      hosts: hosts.length,
      ...(systems === null ? { scope: 'all' } : { scope: 'named', systems: hosts.slice(0, 500) }),
    }
    await recordEvent(transaction, { type: 'config.changed', actor, detail })
    return { status: 200, body: { until, systems: hosts } }
  })
}

/** Compatibility is a bridge, so it has an end that can be seen from here. */
const WIRE_MS_MAX = 366 * 86_400_000
