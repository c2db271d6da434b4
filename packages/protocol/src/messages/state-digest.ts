import { hash } from 'node:crypto'
import { canonicalJson } from '../canonical-json.ts'
import type { StateReport } from './agent.ts'

/**
 * The name of what a state says about a host: lower-case hexadecimal SHA-256 of the canonical JSON (RFC 8785) of the
 * report without what belongs to the message (`v`, `kind`, `report_id`, `system`, `collected_at`, `change_reason`) and
 * without what comes and goes while the host stays the same: interfaces of containers and virtual machines, the
 * loopback, link-local addresses. Order of interfaces, addresses and failed units does not count.
 * Host and control plane compute it from the same report, so that a heartbeat can stand for a state.
 */
export function stateDigest(report: StateReport): string {
  const { v, kind, report_id, system, collected_at, change_reason, ...facts } = report
  const lasting = {
    ...facts,
    failed_units: facts.failed_units?.toSorted(),
    fingerprint: facts.fingerprint === undefined ? undefined : lastingFingerprint(facts.fingerprint),
  }
  return hash('sha256', canonicalJson(lasting), 'hex')
}

/** Whether an interface belongs to a container, a virtual machine or the loopback; such names come and go. */
export function isVolatileInterface(name: string): boolean {
  return name === 'lo' || VOLATILE_PREFIXES.some((prefix) => name.startsWith(prefix))
}

type Fingerprint = NonNullable<StateReport['fingerprint']>

function lastingFingerprint(fingerprint: Fingerprint): Fingerprint {
  const interfaces = fingerprint.network_interfaces
  if (interfaces === undefined) return fingerprint
  return {
    ...fingerprint,
    network_interfaces: interfaces
      .filter((one) => !isVolatileInterface(one.name))
      .map((one) => ({
        ...one,
        ip_addresses: one.ip_addresses.filter((address) => !isLinkLocal(address)).toSorted(),
      }))
      .toSorted((a, b) => (a.name < b.name ? -1 : 1)),
  }
}

/** 169.254.0.0/16 (RFC 3927) and fe80::/10 (RFC 4291): a host makes them up by itself. */
function isLinkLocal(address: string): boolean {
  return address.startsWith('169.254.') || /^fe[89ab][0-9a-f]:/i.test(address)
}

/** Pairs and bridges of Docker, Podman, libvirt, CNI, Calico, Cilium, LXD and virtual machines; `br0` of an operator stays. */
const VOLATILE_PREFIXES = [
  'veth',
  'docker',
  'br-',
  'cni',
  'virbr',
  'vnet',
  'podman',
  'flannel',
  'cali',
  'cilium',
  'lxc',
  'lxdbr',
  'tap',
  'ifb',
]
