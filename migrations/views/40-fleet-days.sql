-- Numbers compare as numbers: 0.10.0 is newer than 0.9.0. What follows the numbers does not count.
create or replace function version_key(version text) returns integer[] language sql immutable parallel safe as $$
  select string_to_array(substring(version from '^v?([0-9]{1,6}(?:\.[0-9]{1,6}){0,5})'), '.')::integer[]
$$;

-- How the fleet of the tenant stands now.
create or replace function fleet_standing()
returns table (systems integer, up_to_date integer, behind integer, no_evaluation integer, offline integer, never_seen integer,
               reporting integer, tpm integer, secure_boot integer, fips integer, selinux integer, agent_versions integer,
               outdated_agents integer)
language sql stable as $$
  with standing as (
    select v.verdict, system_health(v.seen_at, now()) as health, v.seen_at is not null as reports, c.agent_version,
           st.facts -> 'fingerprint' as found
    from system_verdict v
    left join system_current c on c.system_id = v.system_id
    left join system_state st on st.id = c.state_id
    where v.tenant_id = cf_tenant() and v.active
  )
  select count(*)::integer,
         count(*) filter (where verdict = 'up_to_date')::integer,
         count(*) filter (where verdict in ('behind', 'building', 'build_failed'))::integer,
         count(*) filter (where verdict in ('no_evaluation', 'evaluation_failed', 'untracked', 'unattributed'))::integer,
         count(*) filter (where health = 'offline')::integer,
         count(*) filter (where not reports)::integer,
         count(*) filter (where reports)::integer,
         count(*) filter (where found -> 'tpm_present' = 'true')::integer,
         count(*) filter (where found -> 'secure_boot_enabled' = 'true')::integer,
         count(*) filter (where found -> 'fips_mode' = 'true')::integer,
         count(*) filter (where found ->> 'selinux_status' = 'enforcing')::integer,
         count(distinct agent_version)::integer,
         count(*) filter (where version_key(agent_version) < (select max(version_key(n.agent_version)) from standing n))::integer
  from standing
$$;

-- What happened on one day (UTC): commits that became known and were evaluated, and hosts that came to run another path.
create or replace function fleet_movement(on_day date)
returns table (new_commits integer, evaluated_commits integer, deployed_commits integer, updated_systems integer,
               seconds_to_deploy double precision)
language sql stable as $$
  with span as (
    select on_day::timestamp at time zone 'UTC' as from_at, (on_day + 1)::timestamp at time zone 'UTC' as to_at
  ), arrival as (
    select s.id as system_id, s.configuration_id, st.current_path, st.received_at
    from span
    join system s on s.tenant_id = cf_tenant() and s.active
    join system_state st on st.system_id = s.id and st.received_at >= span.from_at and st.received_at < span.to_at
    join lateral (select p.current_path from system_state p where p.system_id = s.id and p.received_at < st.received_at
                  order by p.received_at desc limit 1) before on before.current_path <> st.current_path
  ), attributed as (
    select a.system_id, a.received_at, g.flake_id, p.last_position,
           (select min(e.evaluated_at) from derivation d join evaluation e on e.derivation_id = d.id
            where d.tenant_id = cf_tenant() and d.out_path = a.current_path and e.configuration_id = a.configuration_id) as evaluated_at
    from arrival a
    left join configuration_path p on p.configuration_id = a.configuration_id and p.out_path = a.current_path
    left join configuration g on g.id = p.configuration_id
  )
  select (select count(*) from commit c, span where c.tenant_id = cf_tenant() and c.discovered_at >= from_at and c.discovered_at < to_at)::integer,
         (select count(*) from commit c, span where c.tenant_id = cf_tenant() and c.evaluated_at >= from_at and c.evaluated_at < to_at)::integer,
         count(distinct (flake_id, last_position)) filter (where last_position is not null)::integer,
         count(distinct system_id)::integer,
         avg(extract(epoch from received_at - evaluated_at)) filter (where received_at >= evaluated_at)::double precision
  from attributed
$$;

-- The day's row of the fleet. Runs with the rights of the owner of the tables, because the sweep that calls it may not read what hosts
-- run; the owner may be a superuser, so every condition on the tenant is written out.
create or replace function record_fleet_day(renew interval default interval '15 minutes') returns boolean
language plpgsql security definer set search_path = public as $$
declare today date := (now() at time zone 'UTC')::date;
begin
  if cf_tenant() is null then raise exception 'record_fleet_day needs a tenant' using errcode = 'invalid_parameter_value'; end if;
  if exists (select from fleet_day d where d.tenant_id = cf_tenant() and d.day = today and d.recorded_at > now() - renew) then
    return false;
  end if;
  insert into fleet_day
  select cf_tenant(), today, s.*, v.*, now() from fleet_standing() s, fleet_movement(today) v
  on conflict (tenant_id, day) do update set
    systems = excluded.systems, up_to_date = excluded.up_to_date, behind = excluded.behind, no_evaluation = excluded.no_evaluation,
    offline = excluded.offline, never_seen = excluded.never_seen, reporting = excluded.reporting, tpm = excluded.tpm,
    secure_boot = excluded.secure_boot, fips = excluded.fips, selinux = excluded.selinux, agent_versions = excluded.agent_versions,
    outdated_agents = excluded.outdated_agents, new_commits = excluded.new_commits, evaluated_commits = excluded.evaluated_commits,
    deployed_commits = excluded.deployed_commits, updated_systems = excluded.updated_systems,
    seconds_to_deploy = excluded.seconds_to_deploy, recorded_at = excluded.recorded_at;
  -- What happened yesterday after its last record. How the fleet stood then is not known any more.
  update fleet_day d set
    (new_commits, evaluated_commits, deployed_commits, updated_systems, seconds_to_deploy, recorded_at) =
      (select v.*, now() from fleet_movement(today - 1) v)
  where d.tenant_id = cf_tenant() and d.day = today - 1 and d.recorded_at < (today::timestamp at time zone 'UTC');
  return true;
end $$;
