-- compatible
-- Lists are read from the newest row back. A filter that few rows pass read the whole history to fill a page.
create index evaluation_errors on evaluation (tenant_id, id desc) where state = 'error';
create index derivation_unfinished on derivation (tenant_id, id desc) where state <> 'cached';
create index job_by_state on job (tenant_id, state, id desc);
create index finding_by_package on finding (tenant_id, package);
-- Reports are most of all events; what people did is among them, and reports do not pay for this index.
create index audit_event_rare on audit_event (tenant_id, type, id desc) where type <> 'agent.report';
