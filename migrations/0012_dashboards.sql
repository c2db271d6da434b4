-- compatible
-- Dashboards: who reads which tenant, what is shown of the past, kept day by day so that no page walks history, and what that needs to be
-- quick.

-- Logins of dashboards, members of cf_dashboards or that role itself, and the one tenant that each sees. It cannot choose another.
create table dashboard_login (
  login name primary key,
  tenant text not null references tenant
);

-- The tenant of the login that asks; null when it has none.
create function dashboards_tenant() returns text language sql stable security definer set search_path = public as $$
  select d.tenant from dashboard_login d where d.login = session_user
$$;

-- Grafana knows passwords only, and RDS takes none from who has rds_iam.
do $$
begin
  if exists (select 1 from pg_roles where rolname = 'rds_iam') then revoke rds_iam from cf_dashboards; end if;
end $$;

-- One row for each day (UTC) of a tenant, renewed while the day lasts. Counts are of active systems.
create table fleet_day (
  tenant_id text not null references tenant,
  day date not null,
  systems integer not null,
  up_to_date integer not null,
  behind integer not null,
  no_evaluation integer not null,
  offline integer not null,
  never_seen integer not null,
  -- Of the systems that have reported.
  reporting integer not null,
  tpm integer not null,
  secure_boot integer not null,
  fips integer not null,
  selinux integer not null,
  agent_versions integer not null,
  outdated_agents integer not null,
  new_commits integer not null,
  evaluated_commits integer not null,
  deployed_commits integer not null,
  updated_systems integer not null,
  -- From the evaluation of a path to the first report of the host that runs it; null when no host came to run another path.
  seconds_to_deploy double precision,
  recorded_at timestamptz not null default now(),
  primary key (tenant_id, day)
);
select isolate_tenant(array['fleet_day']);

-- The states of the rules in a report, without what explains them: {"active": [rule, ...], ...}.
create function stig_rule_states(report jsonb) returns jsonb language sql immutable parallel safe as $$
  select jsonb_object_agg(state, rules) from (
    select r.value ->> 'state' as state, jsonb_agg(r.key order by r.key) as rules
    from jsonb_each(case when jsonb_typeof(report -> 'rules') = 'object' then report -> 'rules' else '{}' end) r
    where r.value ->> 'state' is not null
    group by 1
  ) grouped
$$;
alter table evaluation add column rule_states jsonb generated always as (stig_rule_states(stig_report)) stored;

create index job_by_subject on job (tenant_id, subject);
create index job_finished on job (tenant_id, finished_at) where finished_at is not null;
create index commit_discovered on commit (tenant_id, discovered_at);
