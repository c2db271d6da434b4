-- Builders: take jobs and report what came of them.
revoke all on all tables in schema public from cf_builders;
grant select on builder, builder_key, request_nonce, job, job_attempt, flake, commit, configuration, evaluation, configuration_path,
  derivation, store_path, closure, system, cve, scan, outbox, waiver, waiver_transition to cf_builders;
grant insert on request_nonce, job, job_attempt, outbox, commit, configuration, evaluation, configuration_path, derivation,
  cve, scan, finding, evidence_object, audit_event, audit_pending, waiver, waiver_transition to cf_builders;
grant update on job, job_attempt, commit, configuration, evaluation, configuration_path, derivation, cve to cf_builders;
grant update (nix_version, systems, scanner, isolation, last_seen_at) on builder to cf_builders;
grant update (resolved_at, last_error, next_poll_at) on flake to cf_builders;
grant usage on sequence job_fence to cf_builders;
