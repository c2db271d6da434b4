-- The relay of the outbox and the sweep: they alone may list the tenants, and then work in one tenant at a time.
revoke all on all tables in schema public from cf_scheduler;
grant select on tenant, outbox, job, job_attempt, flake, commit, configuration, evaluation, derivation, scan, store_path, builder,
  hook_delivery, report_receipt, deployment, waiver, waiver_transition, waiver_notice to cf_scheduler;
-- What the watch counts, and nothing that says what a host runs.
grant select (id, tenant_id, active) on system to cf_scheduler;
grant select (system_id, tenant_id, seen_at) on system_current to cf_scheduler;
grant select (tenant_id, name, role, subject, created_by, created_at, expires_at, revoked_at) on api_token to cf_scheduler;
grant select (tenant_id, system_id, status, created_at) on system_key to cf_scheduler;
grant select (tenant_id, builder_id, status, created_at) on builder_key to cf_scheduler;
grant insert on job, outbox, scan, waiver_transition, waiver_notice, audit_event, audit_pending to cf_scheduler;
grant update on job, job_attempt to cf_scheduler;
grant update (next_poll_at, last_error) on flake to cf_scheduler;
grant update (state, error) on commit to cf_scheduler;
grant update (state, failure_class, error, scan_state) on derivation to cf_scheduler;
grant update (published_at) on store_path to cf_scheduler;
grant update (state, ended_at) on deployment to cf_scheduler;
grant delete on outbox, hook_delivery, report_receipt to cf_scheduler;
-- `for update` asks for the right to update a column.
grant update (not_before) on outbox to cf_scheduler;

drop policy if exists scheduler on tenant;
create policy scheduler on tenant for select to cf_scheduler using (true);
drop policy if exists scheduler on outbox;
create policy scheduler on outbox for select to cf_scheduler using (true);
