import { isIPv4 } from 'node:net'
import type { NetworkInterfaceInfo } from 'node:os'
import { type Fingerprint, isVolatileInterface } from '@crystal-forge/protocol'
import type { RootedTree } from '../rooted-tree.ts'

export type Interface = NonNullable<Fingerprint['network_interfaces']>[number]
export type Network = {
  network_interfaces: Interface[]
  primary_mac_address: string | null
  primary_ip_address: string | null
  gateway_ip: string | null
}

/** What `os.networkInterfaces()` answers. */
export type Addresses = NodeJS.Dict<NetworkInterfaceInfo[]>

/**
 * Interfaces with their addresses; the primary one is that of the default route. Temporary IPv6 addresses (RFC 8981) are left
 * out: they change by the hour and say nothing about the host.
 * @param addresses of the running system; null for a prepared tree, where only files can be read: MAC addresses and IPv6.
 */
export async function collectNetwork(tree: RootedTree, addresses: Addresses | null): Promise<Network> {
  const [names, routes, inet6] = await Promise.all([
    tree.list('/sys/class/net'),
    tree.text('/proc/net/route'),
    tree.text('/proc/net/if_inet6'),
  ])
  const six = parseInet6(inet6 ?? '')
  const interfaces = await Promise.all(
    (names ?? [])
      .filter((name) => /^[^\p{Cc}/]{1,64}$/u.test(name))
      .map(async (name) => ({
        name,
        mac_address: parseMac(await tree.text(`/sys/class/net/${name}/address`)),
        ip_addresses: addressesOf(name, six, addresses),
      })),
  )
  const route = parseDefaultRoute(routes ?? '')
  const primary = interfaces.find((one) => one.name === route?.interface)
  return {
    network_interfaces: interfaces.toSorted(lastingFirst).slice(0, INTERFACES_MAX),
    primary_mac_address: primary?.mac_address ?? null,
    primary_ip_address: primary?.ip_addresses.find((address) => isIPv4(address)) ?? null,
    gateway_ip: route?.gateway ?? null,
  }
}

/** The route to 0.0.0.0/0 through a gateway with the lowest metric, of the kernel's table of IPv4 routes. */
export function parseDefaultRoute(table: string): { interface: string; gateway: string } | null {
  const routes = table
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, destination, gateway, flags, , , , mask]) => {
      const viaGateway = (Number.parseInt(flags ?? '', 16) & UP_AND_GATEWAY) === UP_AND_GATEWAY
      return (
        destination === '00000000' && mask === '00000000' && viaGateway && /^[0-9A-F]{8}$/.test(gateway ?? '')
      )
    })
    .sort((a, b) => Number(a[6]) - Number(b[6]))
  const [name, , gateway] = routes[0] ?? []
  if (name === undefined || gateway === undefined) return null
  // The kernel prints the four bytes as one little-endian number.
  return {
    interface: name,
    gateway: [6, 4, 2, 0].map((at) => Number.parseInt(gateway.slice(at, at + 2), 16)).join('.'),
  }
}

type Inet6 = { readonly interface: string; readonly address: string; readonly temporary: boolean }

/** Lines of address, index, prefix length, scope, flags and name. */
export function parseInet6(text: string): readonly Inet6[] {
  return text.split('\n').flatMap((line) => {
    const match = /^([0-9a-f]{32}) [0-9a-f]+ [0-9a-f]+ [0-9a-f]+ ([0-9a-f]+) +(\S+)$/.exec(line.trim())
    if (match === null) return []
    const [, hex = '', flags = '', name = ''] = match
    return [
      {
        interface: name,
        address: compressIpv6(hex.match(/.{4}/g) ?? []),
        temporary: (Number.parseInt(flags, 16) & IFA_F_TEMPORARY) !== 0,
      },
    ]
  })
}

function addressesOf(name: string, six: readonly Inet6[], addresses: Addresses | null): string[] {
  const own = six.filter((one) => one.interface === name)
  const temporary = new Set(own.filter((one) => one.temporary).map((one) => one.address))
  const found =
    addresses === null
      ? own.map((one) => one.address)
      : (addresses[name] ?? []).map((one) =>
          one.family === 'IPv6' ? canonicalIpv6(one.address) : one.address,
        )
  return found
    .filter((address) => !temporary.has(address))
    .sort()
    .slice(0, ADDRESSES_MAX)
}

/** Both sources must spell an address alike: the URL parser writes RFC 5952. */
function compressIpv6(groups: readonly string[]): string {
  return canonicalIpv6(groups.join(':'))
}

function canonicalIpv6(address: string): string {
  const url = `http://[${address}]/`
  return URL.canParse(url) ? new URL(url).hostname.slice(1, -1) : address
}

/** All zeros is what interfaces without an address of their own print; tunnels print other lengths. */
function parseMac(text: string | null): string | null {
  const mac = text?.toLowerCase() ?? ''
  return /^([0-9a-f]{2}:){5,19}[0-9a-f]{2}$/.test(mac) && /[1-9a-f]/.test(mac) ? mac : null
}

/** When there are more than a report can hold, those of containers are left out first. */
function lastingFirst(a: Interface, b: Interface): number {
  const order = Number(isVolatileInterface(a.name)) - Number(isVolatileInterface(b.name))
  return order === 0 ? (a.name < b.name ? -1 : 1) : order
}

/** `network_interfaces` and `ip_addresses` of a report. */
const INTERFACES_MAX = 64
const ADDRESSES_MAX = 32
/** RTF_UP | RTF_GATEWAY of <linux/route.h>. */
const UP_AND_GATEWAY = 0x3
/** <linux/if_addr.h> */
const IFA_F_TEMPORARY = 0x01
