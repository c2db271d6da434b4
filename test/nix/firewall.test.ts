import { execFile, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import process from 'node:process'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, it } from 'vitest'
import * as z from 'zod'
import { readNftables } from '../../host-agent/src/controls/nftables-rules.ts'
import { evaluateNix, nix } from './evaluate.ts'

const limits = z.object({
  start: z.string(),
  stop: z.string(),
  tables: z.record(z.string(), z.object({ family: z.string(), content: z.string() })),
})

const why = whyNot()
const note = why === null ? '' : ` — skipped: ${why}`

function whyNot(): string | null {
  if (nix.version === null) return 'nix is not installed'
  if (process.getuid?.() !== 0) return 'a network namespace of its own needs root'
  const missing = ['iptables', 'ip6tables', 'nft'].find((name) => !existsSync(`/usr/sbin/${name}`))
  if (missing !== undefined) return `there is no ${missing}`
  const { status } = spawnSync('unshare', ['--net', 'iptables', '-w', '-S'])
  return status === 0 ? null : 'a network namespace of its own, with rules in it, cannot be had here'
}

/** The frame of the script by which NixOS starts its firewall: chains are deleted and made anew, and the first failure ends it. */
const asNixos = (of: z.infer<typeof limits>): string => `
ip46tables() { iptables -w "$@"; ip6tables -w "$@"; }
start() {
  ip46tables -D INPUT -j nixos-fw 2> /dev/null || true
  for chain in nixos-fw nixos-fw-refuse; do
    ip46tables -F "$chain" 2> /dev/null || true
    ip46tables -X "$chain" 2> /dev/null || true
  done
  ip46tables -N nixos-fw-refuse
  ip46tables -A nixos-fw-refuse -j DROP
  ip46tables -N nixos-fw
  ip46tables -A nixos-fw -p tcp --dport 8443 -j ACCEPT
  ${of.start}
  ip46tables -A nixos-fw -j nixos-fw-refuse
  ip46tables -A INPUT -j nixos-fw
}
stop() {
  ip46tables -D INPUT -j nixos-fw 2> /dev/null || true
  ${of.stop}
}
show() { echo "== $1"; iptables -S; ip6tables -S; }
`

describe.skipIf(why !== null)(`the rate limits of the STIG${note}`, () => {
  let of: z.infer<typeof limits>
  beforeAll(async () => {
    of = limits.parse(await evaluateNix('firewall.nix', { generation: '24.11' }))
  }, 120_000)

  it('are there once, before the firewall, however often it is started, reloaded or killed', async () => {
    const shown = await alone(`${asNixos(of)}
start; show first
start; show again
stop; start; show reloaded
stop; show stopped`)
    const [, first, again, reloaded, stopped] = shown.split(/^== .*$/m)
    expect(first).toMatch(/^-A INPUT -j stig-limits\n-A INPUT -j nixos-fw$/m)
    expect(first?.match(/--dport 8443 .*hashlimit/g)).toHaveLength(2)
    expect(again).toBe(first)
    expect(reloaded).toBe(first)
    expect(stopped).not.toContain('stig')
  })

  it('are a table of nftables that is replaced as a whole and comes before the firewall', async () => {
    const name = 'stig-limits'
    const head = `table ${of.tables[name]?.family} ${name}`
    const rules = `${head}\ndelete ${head}\n${head} {\n${of.tables[name]?.content}\n}\n`
    const load = `nft -f - <<'NFT'\n${rules}NFT\n`
    const shown = await alone(`${load}nft -j list ruleset\necho ==\n${load}nft -j list ruleset`)
    const [first = '', again = ''] = shown.split('==\n')
    expect(readNftables(first).rateLimitedPorts).toEqual(expect.arrayContaining(['22', '8443']))
    const bare = (text: string) => text.replace(/"handle": [0-9]+/g, '')
    expect(bare(again)).toBe(bare(first))
    expect(first).toContain('"prio": -10')
  })
})

async function alone(script: string): Promise<string> {
  const { stdout } = await promisify(execFile)('unshare', ['--net', 'bash', '--norc', '-e', '-c', script], {
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
    timeout: 60_000,
  })
  return stdout
}
