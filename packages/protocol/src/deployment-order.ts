import * as z from 'zod'
import { parseUtcTimestamp } from './timestamp.ts'

/** What an order to one host says; the payload of a DSSE envelope. See `checkOrder` for what a host does with it. */
export type DeploymentOrder = z.output<typeof deploymentOrder>

/** `toplevel` stays a text here: the shape of the store path is a check of its own, after the order is known to be for this host. */
export const deploymentOrder: z.ZodObject<
  {
    _type: z.ZodLiteral<'https://crystalforge.dev/deployment/v1'>
    tenant: z.ZodString
    target: z.ZodObject<
      { system: z.ZodString; hostname: z.ZodString; agentKeyId: z.ZodString },
      z.core.$strict
    >
    action: z.ZodLiteral<'switch'>
    toplevel: z.ZodString
    narHash: z.ZodString
    closure: z.ZodObject<{ count: z.ZodInt; sha256: z.ZodString }, z.core.$strict>
    caches: z.ZodArray<z.ZodString>
    commit: z.ZodString
    sequence: z.ZodInt
    previous: z.ZodOptional<z.ZodObject<{ sequence: z.ZodInt }, z.core.$strict>>
    notBefore: z.ZodString
    expires: z.ZodString
    rollback: z.ZodObject<
      { confirmWithin: z.ZodInt; on: z.ZodArray<z.ZodEnum<Record<RollbackCause, RollbackCause>>> },
      z.core.$strict
    >
    policy: z.ZodObject<{ id: z.ZodString; threshold: z.ZodInt }, z.core.$strict>
  },
  z.core.$strict
> = z.strictObject({
  _type: z.literal('https://crystalforge.dev/deployment/v1'),
  tenant: name(),
  target: z.strictObject({ system: name(), hostname: z.string().min(1).max(253), agentKeyId: name() }),
  action: z.literal('switch'),
  toplevel: z.string().min(1).max(300),
  narHash: z.string().regex(/^sha256-[A-Za-z0-9+/]{43}=$/),
  closure: z.strictObject({
    count: z.int().min(1).max(1_000_000),
    sha256: z.string().regex(/^[0-9a-f]{64}$/),
  }),
  caches: z.array(z.string().min(1).max(500)).min(1).max(16),
  commit: z.string().regex(/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/),
  sequence: z.int().min(1),
  previous: z.strictObject({ sequence: z.int().min(0) }).optional(),
  notBefore: utcTimestamp(),
  expires: utcTimestamp(),
  rollback: z.strictObject({
    confirmWithin: z.int().min(1).max(3600),
    on: z
      .array(
        z.enum({ 'no-confirm': 'no-confirm', 'no-heartbeat': 'no-heartbeat', 'unit-failed': 'unit-failed' }),
      )
      .max(8),
  }),
  policy: z.strictObject({ id: name(), threshold: z.int().min(0).max(16) }),
})

/** Why a host reverts by itself. `no-heartbeat` is an earlier spelling of `no-confirm`. */
export type RollbackCause = 'no-confirm' | 'no-heartbeat' | 'unit-failed'

/** KMS signs at most 4096 bytes of Ed25519 message, and the message is the pre-authentication encoding. */
export const ORDER_PAE_BYTES_MAX = 4095

function name(): z.ZodString {
  return z.string().min(1).max(128)
}

function utcTimestamp(): z.ZodString {
  return z.string().refine((text) => parseUtcTimestamp(text) !== null, 'not an RFC 3339 timestamp in UTC')
}
