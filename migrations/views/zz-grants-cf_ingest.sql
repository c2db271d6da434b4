-- Reports of hosts, over our wire and the original's. May add to history and evidence, never change or read it back.
revoke all on all tables in schema public from cf_ingest;
grant select on system, system_key, tenant to cf_ingest;
grant update (rfc9421_used_at, original_last_timestamp) on system_key to cf_ingest;
-- `on conflict do nothing returning` reads the row that it inserts.
grant select, insert on request_nonce, report_receipt, evidence_object, control_facts to cf_ingest;
grant insert on system_state, audit_event, audit_pending to cf_ingest;
grant select, insert, update on system_current, heartbeat to cf_ingest;
