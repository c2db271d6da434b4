-- The rows of the operator API: one view per list, columns named as the API names them.
drop view if exists flake_list, hook_list, commit_list, evaluation_list, derivation_list, job_list, builder_list,
  environment_list, cache_list, state_list, event_list, finding_list,
  enroll_token_list;

create or replace view flake_list with (security_invoker = true) as
select f.id, f.name, f.repository_url as repo_url, f.source->>'kind' as source, f.branch, f.auto_poll, f.poll_interval_s,
       f.initial_commit_depth, f.next_poll_at, f.resolved_at, f.last_error, f.active, f.created_at,
       head.rev as head_rev, head.committed_at as head_at, head.state as head_state,
       (select count(*) from system s where s.flake_id = f.id and s.active) as systems
from flake f
left join lateral (
  select c.rev, c.committed_at, c.state from commit c
  where c.tenant_id = f.tenant_id and c.flake_id = f.id and c.on_branch order by c.position desc limit 1
) head on true;

create or replace view hook_list with (security_invoker = true) as
select h.id, f.name as flake, h.provider, h.active, '/v1/hooks/' || h.id as path,
       h.previous_secret_sealed is not null as has_previous_secret, h.created_at
from hook h join flake f on f.id = h.flake_id;

create or replace view commit_list with (security_invoker = true) as
select c.id, f.name as flake, c.rev, c.position, c.committed_at, c.subject, c.on_branch, c.state, c.error,
       c.discovered_at, c.evaluated_at
from commit c
join flake f on f.id = c.flake_id;

create or replace view evaluation_list with (security_invoker = true) as
select e.id, f.name as flake, c.rev, c.position, cfg.name as configuration, e.commit_id, e.configuration_id, e.state,
       e.error_class, e.error, d.drv_path, d.out_path, d.state as build_state, d.error as build_error,
       d.scan_state, e.agent_assertion, e.evaluator, e.duration_ms, e.evaluated_at
from evaluation e
join commit c on c.id = e.commit_id
join flake f on f.id = c.flake_id
join configuration cfg on cfg.id = e.configuration_id
left join derivation d on d.id = e.derivation_id;

create or replace view derivation_list with (security_invoker = true) as
select d.id, d.name, d.system, d.drv_path, d.out_path, d.state, d.failure_class, d.error, d.attempts, d.nar_hash,
       d.closure_sha256, d.scan_state, d.built_at, d.scanned_at, d.created_at
from derivation d;

create or replace view job_list with (security_invoker = true) as
select j.id, j.kind, j.subject,
       coalesce(f.name, cf.name || '@' || left(c.rev, 12), d.name) as about,
       j.state, j.attempt, j.fence, b.name as builder, j.lease_until, j.priority, j.not_before, j.progress,
       j.failure_class, j.failure_message, j.created_at, j.hinted_at, j.started_at, j.finished_at
from job j
left join builder b on b.id = j.builder_id
left join flake f on j.kind = 'resolve' and f.id = j.subject
left join commit c on j.kind = 'evaluate' and c.id = j.subject
left join flake cf on cf.id = c.flake_id
left join derivation d on j.kind in ('build', 'scan') and d.id = j.subject;

create or replace view builder_list with (security_invoker = true) as
select b.id, b.name, b.active, b.nix_version, b.systems, b.scanner, b.isolation, b.last_seen_at, b.created_at,
       (select array_agg(k.key_id order by k.created_at) from builder_key k
        where k.builder_id = b.id and k.status = 'active') as keys,
       (select array_agg(j.id order by j.id) from job j where j.state = 'leased' and j.builder_id = b.id) as jobs
from builder b;

create or replace view environment_list with (security_invoker = true) as
select e.id, e.name, e.description, e.risk_profile, e.compliance_level, e.active,
       (select count(*) from system s where s.environment_id = e.id and s.active) as systems
from environment e;

create or replace view cache_list with (security_invoker = true) as
select c.toplevel, cardinality(c.path_ids) as paths, c.nar_size, c.sha256, c.created_at
from closure c;

create or replace view state_list with (security_invoker = true) as
select t.id, t.system_id, t.report_id, encode(t.digest, 'hex') as digest, t.change_reason, t.current_path, t.booted_path,
       t.profile_path, t.facts, t.assurance, encode(t.evidence_sha256, 'hex') as evidence_sha256, t.collected_at,
       t.received_at
from system_state t;

create or replace view event_list with (security_invoker = true) as
select e.id, e.type, e.created_at, convert_from(e.body, 'UTF8')::jsonb as body, encode(e.leaf_hash, 'hex') as leaf_hash
from audit_event e;

-- What running systems carry: the newest scan of the path that each of them runs now.
create or replace view finding_list with (security_invoker = true) as
select fnd.id, s.hostname, s.id as system_id, env.name as environment, fl.name as flake, fnd.cve_id as cve,
       fnd.package, fnd.version, cve.cvss3::float8 as cvss3,
       case when cve.cvss3 is null then 'unknown' when cve.cvss3 >= 9 then 'critical' when cve.cvss3 >= 7 then 'high'
            when cve.cvss3 >= 4 then 'medium' when cve.cvss3 > 0 then 'low' else 'unknown' end as severity,
       fnd.whitelisted, fnd.derivation, fnd.out_path, newest.scanner, newest.scanned_at
from system s
join system_current cur on cur.system_id = s.id
join lateral (
  select sc.id, sc.scanner, sc.scanned_at from scan sc
  where sc.tenant_id = s.tenant_id and sc.out_path = cur.current_path and sc.outcome = 'scanned'
  order by sc.scanned_at desc limit 1
) newest on true
join finding fnd on fnd.tenant_id = s.tenant_id and fnd.out_path = cur.current_path and fnd.scan_id = newest.id
join cve on cve.tenant_id = fnd.tenant_id and cve.id = fnd.cve_id
left join environment env on env.id = s.environment_id
left join flake fl on fl.id = s.flake_id
where s.active;

-- A token is open until it is used, taken back, or its time is over, whichever comes first.
create or replace view enroll_token_list with (security_invoker = true) as
select t.id, t.hostname_pattern as hostname, e.name as environment, f.name as flake,
       case when t.used_at is not null then 'used' when t.revoked_at is not null then 'revoked'
            when t.expires_at <= now() then 'expired' else 'open' end as state,
       t.created_by, t.created_at, t.expires_at, t.used_at, s.hostname as used_by, t.revoked_at
from enroll_token t
left join environment e on e.id = t.environment_id
left join flake f on f.id = t.flake_id
left join system s on s.id = t.used_by_system_id;
