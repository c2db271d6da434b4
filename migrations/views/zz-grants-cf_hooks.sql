-- Webhooks: read their hook, note the delivery, queue one job.
revoke all on all tables in schema public from cf_hooks;
grant select on hook, flake, hook_delivery, job, outbox to cf_hooks;
grant insert on hook_delivery, outbox, audit_event, audit_pending to cf_hooks;
grant insert, update on job to cf_hooks;
