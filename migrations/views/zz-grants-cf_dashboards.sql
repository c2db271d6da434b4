-- Dashboards read. Whoever connects as this role sets the tenant for the session: options=-c cf.tenant=t_...
revoke all on all tables in schema public from cf_dashboards;
grant select on
  tenant, environment, flake, commit, derivation, configuration, evaluation, configuration_path, builder, job, closure,
  cve, scan, finding, system, system_state, system_current, heartbeat,
  system_drift, system_verdict, view_system_deployment_status, view_system_heartbeat_status, flake_list, commit_list, evaluation_list,
  derivation_list, job_list, environment_list, finding_list
to cf_dashboards;
