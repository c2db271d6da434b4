-- The operator API: reads everything of its tenant, writes what is declared, and starts or stops work.
revoke all on all tables in schema public from cf_operators;
grant select on
  tenant, environment, flake, hook, hook_delivery, commit, derivation, configuration, evaluation, configuration_path,
  builder, builder_key, job, job_attempt, outbox, store_path, closure, cve, scan, finding, system, system_key,
  enroll_token, system_state, system_current, heartbeat, deployment, approval, api_token, audit_event,
  system_drift, system_verdict, view_system_deployment_status, view_system_heartbeat_status, flake_list, hook_list, commit_list,
  evaluation_list, derivation_list, job_list, builder_list, environment_list, cache_list, state_list, event_list,
  finding_list, enroll_token_list
to cf_operators;
grant insert, update on environment, flake, hook, configuration, builder, system, job to cf_operators;
-- Who a key or a token belongs to and what it may do is said once; afterwards it can only be ended.
grant insert on builder_key, system_key, api_token to cf_operators;
grant update (status, revoked_at) on builder_key to cf_operators;
grant update (status, revoked_at, revoked_because, original_wire_until) on system_key to cf_operators;
grant update (revoked_at) on api_token to cf_operators;
grant insert on enroll_token, outbox, evidence_object, audit_event, audit_pending to cf_operators;
grant update (original_wire_until) on tenant to cf_operators;
grant update (revoked_at) on enroll_token to cf_operators;
grant update (state, error) on commit to cf_operators;
grant update (state, error, failure_class) on derivation to cf_operators;
grant update (outcome, ended_at, failure_class, message) on job_attempt to cf_operators;
