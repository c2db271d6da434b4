import { randomBytes } from 'node:crypto'
import { SecretSeed, signEd25519, signRequest } from '@crystal-forge/protocol'
import { httpPost } from './http-post.ts'

/** Whose wire a request speaks. */
export type Wire = 'ours' | 'original'

/** A host as it travels to the process that makes the load: its seed is worth nothing beyond the run. */
export type BenchHost = { readonly hostname: string; readonly seed: string }

/** Which reports: `count` of them from number `first` on, the hosts taking turns, no two alike. */
export type ReportOrder = {
  readonly wire: Wire
  readonly hosts: readonly BenchHost[]
  readonly first: number
  readonly count: number
}

export const AUTHORITY = 'api.cf.example.com'

/** The requests as bytes, signed now. */
export function reportRequests({ wire, hosts, first, count }: ReportOrder): readonly Uint8Array[] {
  const signers = hosts.map(({ hostname, seed }) => ({
    hostname,
    seed: new SecretSeed(Buffer.from(seed, 'base64')),
  }))
  const make = wire === 'ours' ? ourRequest : rivalRequest
  return Array.from({ length: count }, (_, at) => {
    const host = signers[at % signers.length]
    if (host === undefined) throw new RangeError('no hosts')
    return make(host, first + at)
  })
}

type Host = { readonly hostname: string; readonly seed: SecretSeed }

function ourRequest(host: Host, at: number): Uint8Array {
  const now = new Date()
  const { memory_mib, ...fingerprint } = machine(host.hostname)
  const report = {
    v: 1,
    kind: 'state',
    report_id: `bench-${String(at).padStart(16, '0')}`,
    hostname: host.hostname,
    collected_at: now.toISOString(),
    change_reason: 'config_change',
    store_path: storePath(at),
    booted_path: storePath(0),
    profile_path: storePath(at),
    generation: at,
    failed_units: [],
    agent_version: '0.3.0',
    fingerprint: { ...fingerprint, memory_bytes: memory_mib * 1024 * 1024 },
  }
  const body = Buffer.from(JSON.stringify(report))
  const request = {
    method: 'POST',
    authority: AUTHORITY,
    target: '/v1/agent/reports',
    body,
    now,
    validSeconds: 300,
  }
  const signer = { seed: host.seed, nonce: randomBytes(16).toString('base64url') }
  const headers = signRequest({ ...request, tag: 'crystal-forge-agent-v1', ...signer })
  return httpPost(request.target, { host: AUTHORITY, ...headers }, body)
}

function rivalRequest(host: Host, at: number): Uint8Array {
  const { memory_mib, ...fields } = machine(host.hostname)
  const report = {
    hostname: host.hostname,
    change_reason: 'config_change',
    timestamp: new Date().toISOString(),
    store_path: storePath(at),
    memory_gb: memory_mib,
    agent_version: '0.2.0',
    agent_compatible: true,
    partial_data: false,
    ...fields,
  }
  const body = Buffer.from(JSON.stringify(report))
  const signature = Buffer.from(signEd25519(body, host.seed)).toString('base64')
  return httpPost(
    '/agent/state',
    { host: AUTHORITY, 'x-key-id': host.hostname, 'x-signature': signature },
    body,
  )
}

/** The facts of a host, the same for both sides, of a real report's size. */
function machine(hostname: string) {
  return {
    os: '25.11 (Xantusia)',
    kernel: '6.12.58',
    nixos_version: '25.11.20261101.a5fd3ee',
    memory_mib: 32_048,
    cpu_cores: 16,
    cpu_brand: 'AMD EPYC 7313 16-Core Processor',
    cpu_microcode: 'microcode : 0xa0011d5',
    board_serial: `SN-${hostname}`,
    product_uuid: '4c4c4544-0044-3510-8051-b9c04f4e5632',
    rootfs_uuid: '6d0e0b1e-92d5-4c4a-8a57-4c1b3c5b1f53',
    chassis_serial: `CH-${hostname}`,
    bios_version: '2.14.1',
    network_interfaces: ['eno1', 'eno2', 'bond0'].map((name, at) => ({
      name,
      mac_address: `3c:ec:ef:00:00:0${at}`,
      ip_addresses: [`192.0.2.${at + 10}`, `2001:db8::${at + 10}`],
    })),
    primary_mac_address: '3c:ec:ef:00:00:00',
    primary_ip_address: '192.0.2.10',
    gateway_ip: '192.0.2.1',
    selinux_status: 'disabled',
    tpm_present: true,
    fips_mode: false,
  }
}

export function storePath(at: number): string {
  return `/nix/store/${String(at).padStart(32, '0')}-nixos-system-host-25.11`
}
