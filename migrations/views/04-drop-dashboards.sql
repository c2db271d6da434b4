-- Views of dashboards (41-dashboards.sql) stand on views that are dropped and made again, so they go first. A view that exists no more
-- stays in this list.
drop view if exists view_commit_build_status, view_commit_nixos_table, view_config_timeline, view_commit_deployment_timeline,
  view_flake_recent_commits, view_buildable_derivations, view_derivation_status_breakdown, view_compliance_trend_7d,
  view_security_trend_30d, view_velocity_trend_14d, view_cve_trends_7d, derivation_status, derivation_statuses,
  fleet_trend, host_detail, host_rule_state, host_control_facts, host_state_history, host_presence, waiver_standing,
  statement_waiting, builder_load, job_outcome;
