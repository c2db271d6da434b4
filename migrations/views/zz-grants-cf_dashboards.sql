-- Dashboards read, in the tenant that dashboard_login names for whoever connects.
revoke all on all tables in schema public from cf_dashboards;
grant select on
  tenant, environment, flake, commit, derivation, configuration, evaluation, configuration_path, builder, job, closure,
  cve, scan, finding, system, system_state, system_current, heartbeat, fleet_day,
  system_drift, system_verdict, view_system_deployment_status, view_system_heartbeat_status, flake_list, commit_list, evaluation_list,
  derivation_list, job_list, environment_list, finding_list, cache_list,
  derivation_statuses, derivation_status, view_commit_build_status, view_commit_nixos_table, view_commit_deployment_timeline,
  view_config_timeline, view_flake_recent_commits, view_buildable_derivations, view_derivation_status_breakdown, fleet_trend,
  view_compliance_trend_7d, view_security_trend_30d, view_velocity_trend_14d, view_cve_trends_7d, host_detail, host_state_history,
  host_presence, host_rule_state, host_control_facts, waiver_standing, statement_waiting, builder_load, job_outcome
to cf_dashboards;
-- Of controls: where they stand and how old that is, not what a host showed or what people wrote.
grant select (id, tenant_id, system_id, current_path, collected_at, received_at) on control_facts to cf_dashboards;
grant select (id, tenant_id, system_id, rule_id, source, holds, author, collected_at, expires_at) on control_evidence to cf_dashboards;
grant select (id, tenant_id, evidence_id, decision, person, decided_at) on control_evidence_decision to cf_dashboards;
grant select on waiver, waiver_transition to cf_dashboards;

-- What a session sets makes no other tenant visible to it. Made once: a policy that is made again locks its table.
do $$
declare t name;
begin
  for t in
    select p.tablename from pg_policies p
    where p.schemaname = 'public' and p.policyname = 'tenant' and has_any_column_privilege('cf_dashboards', p.tablename::regclass, 'select')
      and not exists (select from pg_policies o where o.schemaname = 'public' and o.tablename = p.tablename and o.policyname = 'dashboards')
    order by 1
  loop
    execute format('create policy dashboards on %I for select to cf_dashboards using (tenant_id = (select dashboards_tenant()))', t);
    execute format('create policy dashboards_only on %I as restrictive for select to cf_dashboards using (tenant_id = (select dashboards_tenant()))', t);
  end loop;
end $$;
