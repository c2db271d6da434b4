import type { Catalogue } from '@crystal-forge/control-plane'
import type { StigReport } from '@crystal-forge/protocol'
import { factsOf, TOPLEVEL } from '../controls/demo-host.ts'
import { type OperatorWorld, rev } from './world.ts'

export type Fact = { collector: string; args: unknown; collected_at: string; value: unknown }

export type HostHistory = {
  /** From a time on the host reports that it runs this. */
  runs(hostname: string, toplevel: string, at: Date): Promise<void>
  /** A commit (the first one, unless told) is evaluated for the configuration `web-1`, with this report. */
  evaluated(report: StigReport, at: Date, commit?: { rev: string; toplevel: string }): Promise<void>
  /** The host sends what satisfies every check, but for what `change` makes of it. */
  showed(hostname: string, at: Date, change?: (fact: Fact) => Fact, report?: string | null): Promise<void>
}

/** Writes the past of hosts into the tables that evidence is read from. */
export function hostHistory(world: () => OperatorWorld, catalogue: Catalogue): HostHistory {
  let sequence = 0
  return {
    runs: async (hostname, toplevel, at) => {
      await world().rows(
        `insert into system_state (tenant_id, system_id, report_id, digest, change_reason, current_path, booted_path, facts, assurance,
                                   evidence_sha256, collected_at, received_at)
         select tenant_id, id, gen_random_uuid()::text, '\\x00', 'config_change', $2, $2,
                '{"fingerprint": {"primary_ip_address": "192.0.2.7", "nixos_version": "25.11"}}', 'rfc9421', '\\x00', $3, $3
         from system where hostname = $1`,
        [hostname, toplevel, at],
      )
    },
    evaluated: async (report, at, { rev: commit, toplevel } = { rev: rev('1'), toplevel: TOPLEVEL }) => {
      const body = {
        configuration: 'web-1',
        duration_ms: 5,
        state: 'ok',
        drv_path: `${toplevel}.drv`,
        out_path: toplevel,
        system: 'x86_64-linux',
        stig_report: report,
      }
      const client = await world().database.admin.connect()
      try {
        await client.query('begin')
        await client.query(`select set_config('cf.tenant', $1, true)`, [world().tenant])
        await client.query(
          `select record_evaluation(id, 'nix 2.34', '{"kind":"builder"}', $2) from commit where rev = $1`,
          [commit, JSON.stringify(body)],
        )
        await client.query('commit')
      } finally {
        client.release()
      }
      await world().rows(
        'update evaluation set evaluated_at = $1 where commit_id = (select id from commit where rev = $2)',
        [at, commit],
      )
    },
    showed: async (hostname, at, change = (fact) => fact, report = null) => {
      sequence += 1
      const facts = factsOf(catalogue).map(({ collector, args, values }) =>
        change({ collector, args, collected_at: at.toISOString(), value: values }),
      )
      await world().rows(
        `insert into control_facts (tenant_id, system_id, message_id, sequence, current_path, booted_path, agent_version, facts,
                                    evidence_sha256, collected_at, received_at, stig_report_sha256)
         select tenant_id, id, $2, $3, $4, $4, '0.3.0', $5, sha256('x'), $6, $6, decode($7, 'hex') from system where hostname = $1`,
        [hostname, `message-${sequence}-0000000000`, sequence, TOPLEVEL, JSON.stringify(facts), at, report],
      )
    },
  }
}
