import { CannotCollect, type Collector, type Host } from './collector.ts'
import { type RuleSet, readIptables } from './iptables-rules.ts'
import { readNftables } from './nftables-rules.ts'

/**
 * What the packet filter does with what it does not name. iptables is asked first: where it keeps its rules in nftables, `nft` lists them
 * too but cannot say what they mean. IPv6 must be refused as well, where it is filtered by a program of its own.
 */
export const netfilter: Collector = async (host) => {
  const four = await ask(host, 'iptables')
  if (four !== null && !four.empty) {
    const six = await ask(host, 'ip6tables')
    return {
      backend: 'iptables',
      refusesByDefault: four.refusesByDefault && (six === null || six.refusesByDefault),
      rateLimitedPorts: four.rateLimitedPorts,
    }
  }
  const nft = await askNft(host)
  if (nft !== null && !nft.empty)
    return {
      backend: 'nftables',
      refusesByDefault: nft.refusesByDefault,
      rateLimitedPorts: nft.rateLimitedPorts,
    }
  if (nft === null && four === null)
    throw new CannotCollect('absent', 'neither iptables nor nft is in the system profile')
  return { backend: 'none', refusesByDefault: false, rateLimitedPorts: [] }
}

async function ask(host: Host, program: 'iptables' | 'ip6tables'): Promise<RuleSet | null> {
  return await unlessAbsent(async () => readIptables(await host.run(program, ['-w', '5', '-S'])))
}

async function askNft(host: Host): Promise<RuleSet | null> {
  return await unlessAbsent(async () => readNftables(await host.run('nft', ['-j', 'list', 'ruleset'])))
}

async function unlessAbsent(look: () => Promise<RuleSet>): Promise<RuleSet | null> {
  try {
    return await look()
  } catch (error) {
    if (error instanceof CannotCollect && error.code === 'absent') return null
    throw error
  }
}
