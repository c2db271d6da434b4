import { createHash } from 'node:crypto'
import type { ExpectedBuild } from '@crystal-forge/control-plane'
import type { Succeeded } from '@crystal-forge/protocol'
import { type Actor, keepEvidence, recordEvent } from './audit-events.ts'
import type { Database } from './connect.ts'
import { enqueueJob } from './jobs.ts'

const EXPECTED = `
select d.drv_path as "drvPath", d.out_path as "outPath",
  coalesce((select s.nar_hash from store_path s where s.tenant_id = d.tenant_id and s.path = d.out_path), d.nar_hash) as "narHash",
  (select c.sha256 from closure c where c.tenant_id = d.tenant_id and c.toplevel = d.out_path) as "closureSha256"
from derivation d where d.id = $1 for update of d`

/** What a build of the derivation must yield, from its evaluation and from the cache. The row stays locked. */
export async function expectedBuild(
  transaction: Database,
  derivation: string,
): Promise<Omit<ExpectedBuild, 'job'>> {
  const { rows } = await transaction.query<Omit<ExpectedBuild, 'job'>>(EXPECTED, [derivation])
  const [row] = rows
  if (row === undefined) throw new Error(`derivation ${derivation} is gone`)
  return row
}

const BUILT = `
update derivation set state = $2, failure_class = null, error = null, nar_hash = $3, closure_sha256 = $4, built_at = now()
where id = $1`

/**
 * A build whose attestation held: `cached` when its closure is committed, `built` while only the builder has it. Its
 * statement becomes evidence, and a scan is queued.
 */
export async function recordBuild(
  transaction: Database,
  built: {
    readonly derivation: string
    readonly job: string
    readonly expected: Omit<ExpectedBuild, 'job'>
    readonly result: Extract<Succeeded, { kind: 'build' }>
    readonly statement: Uint8Array
    readonly actor: Actor
  },
): Promise<void> {
  const { derivation, expected, result, statement } = built
  const state = expected.closureSha256 === null ? 'built' : 'cached'
  await transaction.query(BUILT, [derivation, state, result.nar_hash, result.closure.sha256])
  await keepEvidence(transaction, statement)
  await recordEvent(transaction, {
    type: 'build.attested',
    actor: built.actor,
    detail: {
      job: built.job,
      drv_path: expected.drvPath,
      out_path: result.out_path,
      nar_hash: result.nar_hash,
      closure: { count: result.closure.count, sha256: result.closure.sha256 },
      envelope: {
        payloadType: result.attestation.payloadType,
        signatures: result.attestation.signatures.map(({ keyid, sig }) => ({ keyid: keyid ?? '', sig })),
      },
      evidence: { sha256: createHash('sha256').update(statement).digest('hex'), bytes: statement.length },
      effect: { table: 'derivation', id: derivation },
    },
  })
  const notes = { out_path: result.out_path }
  await enqueueJob(transaction, { kind: 'scan', subject: derivation, notes, priority: 0 })
}

const SCANNED = `
with put as (
  insert into scan (tenant_id, derivation_id, out_path, job_id, outcome, scanner, message)
  select tenant_id, id, out_path, $2, $3, $4, $5 from derivation where id = $1
  returning id, tenant_id, out_path
), marked as (
  update derivation set scanned_at = now(),
    scan_state = case when scan_state = 'scanned' then scan_state else $3 end
  where id = $1
)
select id, out_path as "outPath" from put`

const CVES = `
insert into cve (tenant_id, id, cvss3, description)
select cf_tenant(), f.cve, max(f.cvss3), max(f.description)
from jsonb_to_recordset($1::jsonb) as f (cve text, cvss3 numeric, description text)
group by f.cve order by f.cve
on conflict (tenant_id, id) do update
  set cvss3 = coalesce(excluded.cvss3, cve.cvss3), description = coalesce(excluded.description, cve.description)
  where (excluded.cvss3, excluded.description) is distinct from (cve.cvss3, cve.description)`

const FINDINGS = `
insert into finding (tenant_id, scan_id, out_path, cve_id, package, version, derivation, whitelisted)
select cf_tenant(), $1, $2, f.cve, f.package, f.version, f.derivation, f.whitelisted
from jsonb_to_recordset($3::jsonb) as f (cve text, package text, version text, derivation text, whitelisted boolean)`

/**
 * Adds a scan beside the earlier ones; the newest with a verdict counts. Without a scanner there is a scan that says so: it
 * takes no earlier verdict away and is none.
 */
export async function recordScan(
  transaction: Database,
  scanned: {
    readonly derivation: string
    readonly job: string
    readonly result: Extract<Succeeded, { kind: 'scan' }>
    readonly actor: Actor
  },
): Promise<void> {
  const { derivation, job, result } = scanned
  const values = [derivation, job, result.outcome, result.scanner, result.message ?? null]
  const { rows } = await transaction.query<{ id: string; outPath: string }>(SCANNED, values)
  const [scan] = rows
  if (scan === undefined) throw new Error(`derivation ${derivation} is gone`)
  if (result.findings.length > 0) {
    const findings = JSON.stringify(result.findings)
    await transaction.query(CVES, [findings])
    await transaction.query(FINDINGS, [scan.id, scan.outPath, findings])
  }
  await recordEvent(transaction, {
    type: 'scan.recorded',
    actor: scanned.actor,
    detail: {
      job,
      out_path: scan.outPath,
      outcome: result.outcome,
      scanner: result.scanner,
      findings: result.findings.length,
      whitelisted: result.findings.filter(({ whitelisted }) => whitelisted).length,
      effect: { table: 'scan', id: scan.id },
    },
  })
}
