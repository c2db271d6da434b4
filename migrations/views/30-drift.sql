-- What each host runs against what is desired of it, from kept rows only: no history is read here.
-- A view is dropped before it is made again, because `create or replace view` cannot take a column away.
drop view if exists view_system_deployment_status, view_system_heartbeat_status, system_drift, system_verdict;

-- The same rule as `verdictOf` of the control plane, which explains it; a test holds the two together.
create or replace function drift_verdict(
  seen boolean, tracked boolean, pinned boolean, evaluated boolean, latest_failed boolean, desired_known boolean,
  on_desired_path boolean, build_state text, desired_position bigint, running_position bigint
) returns text language sql immutable parallel safe as $$
  select case
    when not seen then 'never_seen'
    when pinned and on_desired_path then 'up_to_date'
    when not tracked then 'untracked'
    when not evaluated then 'no_evaluation'
    when not desired_known then 'evaluation_failed'
    when running_position is null then 'unattributed'
    when latest_failed and not pinned then 'evaluation_failed'
    when on_desired_path or running_position = desired_position then 'up_to_date'
    when desired_position is null then 'no_evaluation'
    when running_position > desired_position then 'ahead'
    -- Named once, so that a subquery can stand for it and runs for hosts that are behind only.
    else case build_state when 'failed' then 'build_failed' when 'pending' then 'building' when 'building' then 'building'
         else 'behind' end
  end
$$;

-- The same thresholds as `healthOf` of the control plane.
create or replace function system_health(seen_at timestamptz, at timestamptz) returns text
language sql immutable parallel safe as $$
  select case
    when seen_at is null then 'never_seen'
    when at - seen_at < interval '15 minutes' then 'healthy'
    when at - seen_at < interval '1 hour' then 'warning'
    when at - seen_at < interval '4 hours' then 'critical'
    else 'offline'
  end
$$;

-- The verdict of every host with what lists filter by, and not a join more: a filter by verdict reads the whole fleet.
-- The newest evaluation is an error when it is newer than the newest good one, and the desired path is the one that the
-- desired position yields, so neither evaluations nor derivations need to be read to compare.
create or replace view system_verdict with (security_invoker = true) as
select
  s.id as system_id, s.tenant_id, s.hostname, s.active, env.name as environment, f.name as flake, cur.seen_at,
  drift_verdict(
    cur.system_id is not null, s.configuration_id is not null, pinned.yes,
    cfg.latest_position is not null or head.failed_at > 0,
    greatest(cfg.latest_position, head.failed_at) > coalesce(cfg.desired_position, 0),
    pinned.yes or cfg.desired_position is not null,
    case when pinned.yes then coalesce(cur.current_path = s.desired_target, false) else false end,
    case when pinned.yes
         then (select d.state from derivation d where d.tenant_id = s.tenant_id and d.out_path = s.desired_target
               order by d.created_at desc limit 1)
         else (select d.state from evaluation e join derivation d on d.id = e.derivation_id
               where e.id = cfg.desired_evaluation_id) end,
    case when pinned.yes then pinned_path.last_position else cfg.desired_position end,
    running.last_position
  ) as verdict
from system s
cross join lateral (select s.policy = 'pinned' and s.desired_target is not null as yes) pinned
left join environment env on env.id = s.environment_id
left join flake f on f.id = s.flake_id
left join configuration cfg on cfg.id = s.configuration_id
left join system_current cur on cur.system_id = s.id
-- Looked up for pinned hosts only: a join would read the paths of all commits once more, for a few hosts or none.
left join lateral (
  select p.last_position from configuration_path p
  where pinned.yes and p.configuration_id = s.configuration_id and p.out_path = s.desired_target limit 1
) pinned_path on true
left join configuration_path running
  on running.configuration_id = s.configuration_id and running.out_path = cur.current_path
left join lateral (
  select case when newest.state = 'failed' then newest.position end as failed_at
  from (select c.state, c.position from commit c
        where c.tenant_id = s.tenant_id and c.flake_id = s.flake_id and c.on_branch order by c.position desc limit 1) newest
) head on true;

create or replace view system_drift with (security_invoker = true) as
select
  s.id as system_id, s.tenant_id, s.hostname, s.active, s.policy, s.desired_target, s.created_at,
  env.name as environment, s.flake_id, f.name as flake, s.configuration_id, cfg.name as configuration,
  cur.seen_at, cur.heartbeat_at, cur.state_received_at, cur.collected_at, cur.generation, cur.boot_id, cur.revision,
  cur.failed_units, cur.agent_version, cur.nixos_version, cur.kernel, cur.assurance,
  desired.path as desired_path, cur.profile_path, cur.current_path, cur.booted_path,
  desired.position as desired_position, desired_commit.rev as desired_rev, desired_commit.committed_at as desired_at,
  running.last_position as running_position, running_commit.rev as running_rev,
  running_commit.committed_at as running_at,
  -- Counted, not subtracted: commits that a force-push dropped keep their positions. An unknown distance is not zero.
  case when desired.position <= running.last_position then 0
       when desired.position > running.last_position then (
         select count(*) from commit c where c.flake_id = s.flake_id and c.on_branch
           and c.position > running.last_position and c.position <= desired.position)
  end as commits_behind,
  cur.booted_path is not null and cur.booted_path <> cur.current_path as reboot_needed,
  cur.profile_path is not null and cur.profile_path <> cur.current_path as not_persisted,
  pinned.yes as pinned,
  newest.evaluated, newest.failed as latest_failed, newest.error as evaluation_error, newest.rev as latest_rev,
  newest.position as latest_position, head.rev as head_rev, head.state as head_state,
  drv.id as desired_derivation_id, drv.state as build_state,
  case when drv.state = 'failed' then drv.error end as build_error,
  coalesce(drv.scan_state, 'unscanned') as desired_scan_state,
  coalesce(running_drv.scan_state, 'unscanned') as running_scan_state,
  elsewhere.flake as attributed_flake, elsewhere.configuration as attributed_configuration,
  drift_verdict(
    cur.system_id is not null, s.configuration_id is not null, pinned.yes, newest.evaluated, newest.failed, desired.path is not null,
    coalesce(cur.current_path = desired.path, false), drv.state, desired.position, running.last_position
  ) as verdict
from system s
cross join lateral (select s.policy = 'pinned' and s.desired_target is not null as yes) pinned
left join environment env on env.id = s.environment_id
left join flake f on f.id = s.flake_id
left join configuration cfg on cfg.id = s.configuration_id
left join system_current cur on cur.system_id = s.id
left join evaluation latest on latest.id = cfg.latest_evaluation_id
left join commit latest_commit on latest_commit.id = latest.commit_id
left join lateral (
  select c.rev, c.position, c.state, c.error from commit c
  where c.tenant_id = s.tenant_id and c.flake_id = s.flake_id and c.on_branch order by c.position desc limit 1
) head on true
-- A commit that fails as a whole has no evaluation of any configuration.
cross join lateral (
  select coalesce(head.state = 'failed' and head.position > coalesce(cfg.latest_position, 0), false) as whole
) fails
cross join lateral (
  select cfg.latest_evaluation_id is not null or fails.whole as evaluated,
         fails.whole or coalesce(latest.state = 'error', false) as failed,
         case when fails.whole then head.error when latest.state = 'error' then latest.error end as error,
         case when fails.whole then head.rev else latest_commit.rev end as rev,
         case when fails.whole then head.position else cfg.latest_position end as position
) newest
left join evaluation good on good.id = cfg.desired_evaluation_id
left join derivation good_drv on good_drv.id = good.derivation_id
left join configuration_path pinned_path
  on pinned.yes and pinned_path.configuration_id = s.configuration_id and pinned_path.out_path = s.desired_target
cross join lateral (
  select case when pinned.yes then s.desired_target else good_drv.out_path end as path,
         case when pinned.yes then pinned_path.last_position else cfg.desired_position end as position
) desired
-- Apart from the derivation of the newest good evaluation, so that either is one look into an index.
left join lateral (
  select d.id, d.state, d.error, d.scan_state from derivation d
  where pinned.yes and d.tenant_id = s.tenant_id and d.out_path = s.desired_target
  order by d.created_at desc limit 1
) pinned_drv on true
cross join lateral (
  select case when pinned.yes then pinned_drv.id else good_drv.id end as id,
         case when pinned.yes then pinned_drv.state else good_drv.state end as state,
         case when pinned.yes then pinned_drv.error else good_drv.error end as error,
         case when pinned.yes then pinned_drv.scan_state else good_drv.scan_state end as scan_state
) drv
left join configuration_path running
  on running.configuration_id = s.configuration_id and running.out_path = cur.current_path
left join commit desired_commit on desired_commit.flake_id = s.flake_id and desired_commit.position = desired.position
left join commit running_commit
  on running_commit.flake_id = s.flake_id and running_commit.position = running.last_position
left join lateral (
  select d.scan_state from derivation d
  where d.tenant_id = s.tenant_id and d.out_path = cur.current_path order by d.scanned_at desc nulls last limit 1
) running_drv on true
left join lateral (
  select of.name as flake, oc.name as configuration
  from configuration_path p
  join configuration oc on oc.id = p.configuration_id
  join flake of on of.id = oc.flake_id
  where running.last_position is null and p.tenant_id = s.tenant_id and p.out_path = cur.current_path
  order by of.name, oc.name limit 1
) elsewhere on true;

-- For dashboards made for the original: its column names and its words, with positions instead of a walk over history.
create or replace view view_system_deployment_status with (security_invoker = true) as
select
  d.hostname, d.current_path as current_store_path, d.state_received_at as deployment_time,
  d.running_rev as current_commit_hash, d.running_at as current_commit_timestamp,
  d.desired_rev as latest_commit_hash, d.desired_at as latest_commit_timestamp,
  d.commits_behind, d.flake as flake_name, word.status as deployment_status,
  case word.status
    when 'no_deployment' then 'the host has never reported'
    when 'unknown' then 'no commit of its flake is known to yield what it runs'
    when 'up_to_date' then 'runs the newest evaluated commit'
    when 'behind' then format('%s commits behind', d.commits_behind)
    else 'runs a newer commit than the desired one'
  end as status_description
from system_drift d
cross join lateral (select case
  when d.current_path is null then 'no_deployment'
  when d.current_path = d.desired_path or d.running_position = d.desired_position then 'up_to_date'
  when d.running_position is null or d.desired_position is null then 'unknown'
  when d.running_position < d.desired_position then 'behind'
  else 'ahead'
end as status) word
where d.active;

create or replace view view_system_heartbeat_status with (security_invoker = true) as
select
  s.hostname, initcap(system_health(c.seen_at, now())) as heartbeat_status, c.seen_at as most_recent_activity,
  c.heartbeat_at as last_heartbeat, c.state_received_at as last_state_change,
  floor(extract(epoch from now() - c.seen_at) / 60)::integer as minutes_since_last_activity,
  case system_health(c.seen_at, now())
    when 'healthy' then 'reported within 15 minutes'
    when 'warning' then 'silent for 15 minutes to 1 hour'
    when 'critical' then 'silent for 1 to 4 hours'
    else 'silent for more than 4 hours'
  end as status_description
from system_current c
join system s on s.id = c.system_id
where s.active;
