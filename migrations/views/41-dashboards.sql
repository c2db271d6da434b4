-- What dashboards read. First the views of the original, with its names, columns and words (and no CVE, cache or package rows: a
-- derivation here is always a whole system), then our own. Views of the original that walked history are bounded: to the last 30 days
-- of commits, or to the days that are kept.


create or replace view derivation_statuses as
select * from (values
  (1, 'pending', 'Known, not looked at yet', false, false, 10),
  (2, 'queued', 'Waits for a place', false, false, 20),
  (3, 'dry-run-pending', 'Waits for its evaluation', false, false, 30),
  (4, 'dry-run-inprogress', 'Is being evaluated', false, false, 40),
  (5, 'dry-run-complete', 'Evaluated', false, true, 50),
  (6, 'dry-run-failed', 'Its evaluation failed', true, false, 51),
  (7, 'build-pending', 'Waits for its build', false, false, 60),
  (8, 'build-inprogress', 'Is being built', false, false, 70),
  (9, 'in-progress', 'Under way', false, false, 75),
  (10, 'build-complete', 'Built', true, true, 80),
  (11, 'complete', 'Done', true, true, 90),
  (12, 'build-failed', 'Its build failed', true, false, 81),
  (13, 'failed', 'Failed', true, false, 91),
  (14, 'cache-pushed', 'Built, and in the cache', true, true, 100)
) as s (id, name, description, is_terminal, is_success, display_order);

-- Each configuration of each commit, as far as it is evaluated, with the state of what it yields.
create or replace view derivation_status with (security_invoker = true) as
select e.id as evaluation_id, e.commit_id, e.configuration_id, cfg.name as configuration, e.derivation_id, d.drv_path, d.attempts,
       e.evaluated_at, e.duration_ms, d.created_at as derivation_at, d.built_at,
       case when e.state = 'error' then e.error when d.state = 'failed' then d.error end as error,
       st.id as status_id, st.name as status_name, st.description as status_description, st.is_terminal, st.is_success, st.display_order
from evaluation e
join configuration cfg on cfg.id = e.configuration_id
left join derivation d on d.id = e.derivation_id
join derivation_statuses st on st.id = case when e.state = 'error' then 6 else
  case d.state when 'pending' then 7 when 'building' then 8 when 'built' then 10 when 'cached' then 14 when 'failed' then 12 end end;

create or replace view view_commit_build_status with (security_invoker = true) as
with recent as (
  select c.* from commit c where c.on_branch and c.committed_at > now() - interval '30 days'
), totals as (
  select o.commit_id, count(*) as total, count(*) filter (where o.is_success) as good,
         count(*) filter (where o.is_terminal and not o.is_success) as bad, count(*) filter (where not o.is_terminal) as open,
         round(avg(o.duration_ms) / 1000.0, 1) as seconds, max(o.attempts) as attempts, string_agg(distinct o.status_name, ', ') as statuses
  from recent c join derivation_status o on o.commit_id = c.id group by o.commit_id
), tries as (
  select c.id as commit_id, max(j.attempt) as most
  from recent c join job j on j.tenant_id = c.tenant_id and j.subject = c.id and j.kind = 'evaluate' group by c.id
)
select
  c.id as commit_id, f.name as flake_name, f.repository_url as repo_url, c.rev as git_commit_hash, left(c.rev, 8) as short_hash,
  c.committed_at as commit_timestamp, coalesce(tries.most, 0) as commit_attempt_count,
  d.derivation_id, 'nixos'::text as derivation_type, d.configuration as derivation_name, d.drv_path as derivation_path,
  d.derivation_at as derivation_scheduled_at, build.started_at as derivation_started_at, d.built_at as derivation_completed_at,
  coalesce(d.attempts, 0) as derivation_attempt_count, d.duration_ms as evaluation_duration_ms,
  coalesce(d.error, c.error) as error_message, null::text as pname, null::text as version,
  d.status_name as derivation_status, d.status_description as derivation_status_description, d.is_terminal, d.is_success,
  coalesce(t.total, 0) as total_derivations, coalesce(t.good, 0) as successful_derivations, coalesce(t.bad, 0) as failed_derivations,
  coalesce(t.open, 0) as in_progress_derivations, coalesce(t.total, 0) as nixos_derivations, 0::bigint as package_derivations,
  t.seconds as avg_evaluation_duration_seconds, t.attempts as max_derivation_attempts, t.statuses as all_statuses,
  word.status as commit_build_status,
  case word.status
    when 'no_builds' then 'Nothing is evaluated yet'
    when 'building' then format('%s of %s are not done', t.open, t.total)
    when 'failed' then 'All failed'
    when 'partial' then format('%s of %s failed', t.bad, t.total)
    when 'complete' then 'All are built'
    else 'Its state is not known'
  end as commit_build_description
from recent c
join flake f on f.id = c.flake_id
left join totals t on t.commit_id = c.id
left join tries on tries.commit_id = c.id
left join derivation_status d on d.commit_id = c.id
left join lateral (select j.started_at from job j where j.tenant_id = c.tenant_id and j.subject = d.derivation_id and j.kind = 'build'
                   order by j.id desc limit 1) build on true
cross join lateral (select case
  when t.total is null and c.state = 'failed' then 'failed'
  when t.total is null then 'no_builds'
  when t.open > 0 then 'building'
  when t.bad = t.total then 'failed'
  when t.bad > 0 then 'partial'
  when t.good = t.total then 'complete'
  else 'unknown'
end as status) word;

create or replace view view_commit_nixos_table with (security_invoker = true) as
select c.id as commit_id, c.rev as git_commit_hash, left(c.rev, 8) as short_hash, c.committed_at as commit_timestamp, f.name as flake_name,
       d.configuration as derivation_name, d.status_name as derivation_status, d.display_order as status_order,
       count(*) over per as total, count(*) filter (where d.is_success) over per as successful,
       count(*) filter (where d.is_terminal and not d.is_success) over per as failed,
       count(*) filter (where not d.is_terminal) over per as in_progress,
       round(100.0 * count(*) filter (where d.is_terminal) over per / count(*) over per, 1) as progress_pct
from commit c
join flake f on f.id = c.flake_id
join derivation_status d on d.commit_id = c.id
where c.on_branch and c.committed_at > now() - interval '30 days'
window per as (partition by c.id);

-- A host that already ran what a commit yields came to it when the commit was evaluated.
create or replace view view_commit_deployment_timeline with (security_invoker = true) as
select f.id as flake_id, f.name as flake_name, c.id as commit_id, c.rev as git_commit_hash, left(c.rev, 8) as short_hash,
       c.committed_at as commit_timestamp, count(distinct e.id) as total_evaluations,
       count(distinct e.id) filter (where e.state = 'ok') as successful_evaluations,
       string_agg(distinct e.state, ', ') as evaluation_statuses, string_agg(distinct cfg.name, ', ') as evaluated_targets,
       min(arrived.at) as first_deployment, max(arrived.at) as last_deployment,
       count(distinct s.id) filter (where arrived.at is not null) as total_systems_deployed,
       count(distinct s.id) filter (where cur.current_path = d.out_path) as currently_deployed_systems,
       string_agg(distinct s.hostname, ', ') filter (where arrived.at is not null) as deployed_systems,
       string_agg(distinct s.hostname, ', ') filter (where cur.current_path = d.out_path) as currently_deployed_systems_list
from commit c
join flake f on f.id = c.flake_id
left join evaluation e on e.commit_id = c.id
left join configuration cfg on cfg.id = e.configuration_id
left join derivation d on d.id = e.derivation_id
left join system s on s.configuration_id = e.configuration_id and s.active
left join system_current cur on cur.system_id = s.id
left join lateral (
  select greatest(min(st.received_at), e.evaluated_at) as at from system_state st
  where st.tenant_id = s.tenant_id and st.current_path = d.out_path and st.system_id = s.id
  having min(st.received_at) is not null
) arrived on true
where c.on_branch and c.committed_at > now() - interval '30 days'
group by f.id, c.id;

create or replace view view_config_timeline with (security_invoker = true) as
select t.first_deployment as "time", format('%s deployed (%s)', t.total_systems_deployed, t.short_hash) as "Config", t.flake_name
from view_commit_deployment_timeline t
where t.first_deployment is not null;

create or replace view view_flake_recent_commits with (security_invoker = true) as
select f.name as flake, left(c.rev, 8) as commit, c.committed_at as commit_timestamp, coalesce(tries.most, 0) as attempt_count,
       case when c.state = 'failed' then 'failed/stuck' when coalesce(tries.most, 0) > 1 then 'retries' else 'ok' end as attempt_status,
       floor(extract(epoch from now() - c.committed_at) / 60)::integer as minutes_since_commit, now() - c.committed_at as age_interval
from flake f
cross join lateral (
  select * from commit c where c.tenant_id = f.tenant_id and c.flake_id = f.id and c.on_branch order by c.position desc limit 3
) c
left join lateral (select max(j.attempt) as most from job j
                   where j.tenant_id = c.tenant_id and j.subject = c.id and j.kind = 'evaluate') tries on true
where f.active;

create or replace view view_buildable_derivations with (security_invoker = true) as
select d.id, d.name as derivation_name, 'nixos'::text as derivation_type, d.drv_path as derivation_path,
       case when j.state = 'leased' then 8 else 7 end as status_id, d.id as nixos_id, newest.at as nixos_commit_ts,
       (j.state = 'leased')::integer as active_workers,
       row_number() over (order by j.state = 'leased' desc, j.priority desc, j.id) as queue_position
from job j
join derivation d on d.id = j.subject
left join lateral (
  select max(c.committed_at) as at from evaluation e join commit c on c.id = e.commit_id where e.derivation_id = d.id
) newest on true
where j.kind = 'build' and j.state in ('queued', 'leased');

create or replace view view_derivation_status_breakdown with (security_invoker = true) as
select st.name as status_name, st.description as status_description, st.is_terminal, st.is_success,
       count(*) as total_count, count(*) as nixos_count, 0::bigint as package_count, round(avg(d.attempts), 1) as avg_attempts,
       round(avg(extract(epoch from d.built_at - d.created_at)), 1) as avg_duration_seconds,
       min(d.created_at) as oldest_scheduled, max(d.created_at) as newest_scheduled,
       count(*) filter (where d.created_at > now() - interval '24 hours') as count_last_24h,
       round(100.0 * count(*) / sum(count(*)) over (), 1) as percentage_of_total
from derivation d
join derivation_statuses st
  on st.id = case d.state when 'pending' then 7 when 'building' then 8 when 'built' then 10 when 'cached' then 14 when 'failed' then 12 end
group by st.id, st.name, st.description, st.is_terminal, st.is_success;

-- The days of the fleet, with shares in percent. Null where nothing is counted, which is neither 0 nor 100.
create or replace view fleet_trend with (security_invoker = true) as
select d.*, round(100.0 * d.up_to_date / nullif(d.systems, 0), 1) as up_to_date_percent,
       round(100.0 * d.tpm / nullif(d.reporting, 0), 1) as tpm_percent,
       round(100.0 * d.secure_boot / nullif(d.reporting, 0), 1) as secure_boot_percent,
       round(100.0 * d.fips / nullif(d.reporting, 0), 1) as fips_percent,
       round(100.0 * d.selinux / nullif(d.reporting, 0), 1) as selinux_percent,
       round(100.0 * d.updated_systems / nullif(d.systems, 0), 1) as updated_percent
from fleet_day d;

create or replace view view_compliance_trend_7d with (security_invoker = true) as
select t.day as snapshot_date, t.systems as total_systems, t.up_to_date as systems_up_to_date, t.behind as systems_behind,
       t.up_to_date_percent as compliance_percentage,
       t.up_to_date_percent - lag(t.up_to_date_percent) over (order by t.day) as daily_change
from fleet_trend t where t.day > (now() at time zone 'UTC')::date - 7;

create or replace view view_security_trend_30d with (security_invoker = true) as
select t.day as snapshot_date, t.systems as total_systems, t.tpm_percent as tpm_percentage, t.secure_boot_percent as secure_boot_percentage,
       t.fips_percent as fips_percentage, t.selinux_percent as selinux_percentage, t.agent_versions as unique_agent_versions,
       t.outdated_agents as outdated_agent_count
from fleet_trend t where t.day > (now() at time zone 'UTC')::date - 30;

create or replace view view_velocity_trend_14d with (security_invoker = true) as
select t.day as snapshot_date, t.new_commits as new_commits_today, t.evaluated_commits as commits_evaluated_today,
       t.deployed_commits as commits_deployed_today, round((t.seconds_to_deploy / 3600)::numeric, 2) as avg_eval_to_deploy_hours,
       t.updated_systems as systems_updated_today, t.updated_percent as deployment_rate_percentage
from fleet_trend t where t.day > (now() at time zone 'UTC')::date - 14;

create or replace view view_cve_trends_7d with (security_invoker = true) as
select (sc.scanned_at at time zone 'UTC')::date as scan_date, count(distinct sc.out_path) as targets_scanned,
       round(avg(n.total), 1) as avg_vulnerabilities, round(avg(n.critical), 1) as avg_critical, round(avg(n.high), 1) as avg_high,
       sum(n.total) as total_vulnerabilities, sum(n.critical) as total_critical, sum(n.high) as total_high
from scan sc
cross join lateral (
  select count(*) as total, count(*) filter (where cve.cvss3 >= 9) as critical, count(*) filter (where cve.cvss3 >= 7 and cve.cvss3 < 9) as high
  from finding f join cve on cve.tenant_id = f.tenant_id and cve.id = f.cve_id
  where f.tenant_id = sc.tenant_id and f.out_path = sc.out_path and f.scan_id = sc.id and not f.whitelisted
) n
where sc.outcome = 'scanned' and sc.scanned_at > now() - interval '7 days'
group by 1;

-- One host, on one line.
create or replace view host_detail with (security_invoker = true) as
select d.hostname, d.environment, d.flake, d.configuration, d.policy, d.verdict, d.commits_behind, d.seen_at,
       system_health(d.seen_at, now()) as health, d.current_path, d.desired_path, d.booted_path, d.profile_path, d.running_rev,
       d.desired_rev, d.generation, d.reboot_needed, d.not_persisted, cardinality(d.failed_units) as failed_unit_count,
       array_to_string(d.failed_units, ', ') as failed_units, d.build_state, coalesce(d.evaluation_error, d.build_error) as error,
       d.agent_version, d.nixos_version, d.kernel, d.assurance, d.running_scan_state,
       st.facts -> 'fingerprint' ->> 'primary_ip_address' as ip_address,
       st.facts -> 'fingerprint' ->> 'cpu_brand' as cpu, (st.facts -> 'fingerprint' ->> 'memory_bytes')::bigint as memory_bytes,
       (st.facts -> 'fingerprint' ->> 'tpm_present')::boolean as tpm,
       (st.facts -> 'fingerprint' ->> 'secure_boot_enabled')::boolean as secure_boot,
       (st.facts -> 'fingerprint' ->> 'fips_mode')::boolean as fips
from system_drift d
left join system_current cur on cur.system_id = d.system_id
left join system_state st on st.id = cur.state_id
where d.active;

-- What hosts reported, change by change.
create or replace view host_state_history with (security_invoker = true) as
select s.hostname, st.received_at, st.collected_at, st.change_reason, st.current_path, st.assurance, left(c.rev, 8) as commit
from system s
join system_state st on st.system_id = s.id
left join configuration_path p on p.configuration_id = s.configuration_id and p.out_path = st.current_path
left join commit c on c.flake_id = s.flake_id and c.position = p.last_position
where s.active;

-- How many signs of life came on each day.
create or replace view host_presence with (security_invoker = true) as
select s.hostname, h.day, h.beats, h.first_at, h.last_at from heartbeat h join system s on s.id = h.system_id where s.active;

-- The state of every rule in the configuration that a host runs: what the configuration says, not what the host shows. Results, which
-- join both with statements and waivers, are computed and asked for with `cf controls`.
create or replace view host_rule_state with (security_invoker = true) as
select s.hostname, env.name as environment, rule.id as rule_id, states.state
from system s
join system_current cur on cur.system_id = s.id
left join environment env on env.id = s.environment_id
join lateral (
  select e.rule_states from derivation d join evaluation e on e.derivation_id = d.id
  where d.tenant_id = s.tenant_id and d.out_path = cur.current_path and e.rule_states is not null
  order by e.evaluated_at, e.id limit 1
) report on true
cross join lateral jsonb_each(report.rule_states) as states (state, rules)
cross join lateral jsonb_array_elements_text(states.rules) as rule (id)
where s.active;

-- When each host last showed facts for its controls, and whether they are about what it runs.
create or replace view host_control_facts with (security_invoker = true) as
select s.hostname, env.name as environment, newest.collected_at, extract(epoch from now() - newest.collected_at)::bigint as age_seconds,
       newest.current_path = cur.current_path as about_running
from system s
left join environment env on env.id = s.environment_id
left join system_current cur on cur.system_id = s.id
left join lateral (
  select m.collected_at, m.current_path from control_facts m where m.system_id = s.id order by m.collected_at desc limit 1
) newest on true
where s.active;

create or replace view waiver_standing with (security_invoker = true) as
select w.name, w.state, cardinality(w.rules) as rule_count, array_to_string(w.rules, ', ') as rules,
       case w.scope ->> 'kind' when 'fleet' then 'fleet' when 'environment' then 'environment ' || (w.scope ->> 'environment')
            when 'hosts' then (select string_agg(h, ', ') from jsonb_array_elements_text(w.scope -> 'hosts') h)
            else (w.scope ->> 'flake') || '#' || (w.scope ->> 'configuration') end as scope,
       w.type, w.author, w.approver, w.expires_at, w.changed_at
from waivers_at(now()) w;

-- Statements that nobody else has accepted or rejected yet.
create or replace view statement_waiting with (security_invoker = true) as
select s.hostname, e.rule_id, e.source, e.holds, e.author, e.collected_at, e.expires_at
from control_evidence e
join system s on s.id = e.system_id
where s.active and e.expires_at > now()
  and not exists (select from control_evidence_decision d where d.evidence_id = e.id);

create or replace view builder_load with (security_invoker = true) as
select b.name, b.active, b.nix_version, array_to_string(b.systems, ', ') as systems, b.scanner, b.isolation, b.last_seen_at,
       extract(epoch from now() - b.last_seen_at)::bigint as silent_seconds, held.jobs as held_jobs, held.what,
       coalesce(day.done, 0) as succeeded_24h, coalesce(day.failed, 0) as failed_24h, day.seconds as avg_seconds_24h
from builder b
left join lateral (
  select count(*) as jobs, string_agg(l.kind || ' ' || coalesce(l.about, l.subject), ', ' order by l.id) as what
  from job_list l where l.state = 'leased' and l.builder = b.name
) held on true
left join lateral (
  select count(*) filter (where j.state = 'succeeded') as done, count(*) filter (where j.state = 'failed') as failed,
         round(avg(extract(epoch from j.finished_at - j.started_at)), 1) as seconds
  from job j where j.tenant_id = b.tenant_id and j.builder_id = b.id and j.finished_at > now() - interval '24 hours'
) day on true;

-- Jobs that came to an end, for counts by time.
create or replace view job_outcome with (security_invoker = true) as
select j.id, j.kind, j.state, j.failure_class, j.failure_message, b.name as builder, j.attempt, j.created_at, j.started_at, j.finished_at,
       extract(epoch from j.started_at - j.created_at) as waited_seconds, extract(epoch from j.finished_at - j.started_at) as took_seconds
from job j left join builder b on b.id = j.builder_id
where j.finished_at is not null;
