-- What migrations/ make. Written by `npm run schema`; read it, do not edit it.

-- Roles

create role cf_builders login;

create role cf_cache login;

create role cf_controls login;

create role cf_dashboards login;

create role cf_enroll login;

create role cf_hooks login;

create role cf_ingest login;

create role cf_operators login;

create role cf_scheduler login;

create role cf_status login;

-- Schema

grant on schema public: usage to cf_builders; usage to cf_cache; usage to cf_controls; usage to cf_dashboards; usage to cf_enroll; usage to cf_hooks; usage to cf_ingest; usage to cf_operators; usage to cf_scheduler; usage to cf_status; usage to public;

-- Sequences

create sequence job_fence;
grant on job_fence: usage to cf_builders;

-- Tables

create table api_token (
  id text not null default new_id('tok'::text),
  tenant_id text not null,
  name text not null,
  role text not null,
  token_sha256 text not null,
  created_by text not null,
  created_at timestamp with time zone not null default now(),
  expires_at timestamp with time zone not null,
  revoked_at timestamp with time zone,
  subject text,
  constraint api_token_name_check CHECK (((length(name) >= 1) AND (length(name) <= 100))),
  constraint api_token_pkey PRIMARY KEY (id),
  constraint api_token_role_check CHECK ((role = ANY (ARRAY['viewer'::text, 'operator'::text, 'approver'::text, 'admin'::text]))),
  constraint api_token_subject_check CHECK (((length(subject) >= 1) AND (length(subject) <= 600))),
  constraint api_token_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(id),
  constraint api_token_token_sha256_check CHECK ((token_sha256 ~ '^[0-9a-f]{64}$'::text)),
  constraint api_token_token_sha256_key UNIQUE (token_sha256)
);
alter table api_token enable row level security;
alter table api_token force row level security;
create policy presented on api_token for select to public using (token_sha256 = ( SELECT cf_lookup() AS cf_lookup));
create policy tenant on api_token for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on api_token: select to cf_controls; insert, select to cf_operators; select to cf_status;
grant on column tenant_id of api_token: select to cf_scheduler;
grant on column name of api_token: select to cf_scheduler;
grant on column role of api_token: select to cf_scheduler;
grant on column created_by of api_token: select to cf_scheduler;
grant on column created_at of api_token: select to cf_scheduler;
grant on column expires_at of api_token: select to cf_scheduler;
grant on column revoked_at of api_token: update to cf_operators; select to cf_scheduler;
grant on column subject of api_token: select to cf_scheduler;

create table approval (
  deployment_id text not null,
  person text not null,
  tenant_id text not null,
  key_id text not null,
  signature bytea not null,
  approved_at timestamp with time zone not null default now(),
  constraint approval_deployment_id_fkey FOREIGN KEY (deployment_id) REFERENCES deployment(id),
  constraint approval_pkey PRIMARY KEY (deployment_id, person),
  constraint approval_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(id)
);
alter table approval enable row level security;
alter table approval force row level security;
create policy tenant on approval for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on approval: select to cf_operators;

create table audit_event (
  id text not null,
  tenant_id text not null,
  type text not null,
  body bytea not null,
  leaf_hash bytea generated always as (sha256(('\x00'::bytea || body))) stored,
  created_at timestamp with time zone not null default now(),
  constraint audit_event_body_check CHECK ((length(body) <= 65535)),
  constraint audit_event_pkey PRIMARY KEY (id)
);
CREATE INDEX audit_event_newest ON public.audit_event USING btree (tenant_id, id DESC);
CREATE INDEX audit_event_rare ON public.audit_event USING btree (tenant_id, type, id DESC) WHERE (type <> 'agent.report'::text);
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE ON public.audit_event FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON public.audit_event FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
alter table audit_event enable row level security;
alter table audit_event force row level security;
create policy tenant on audit_event for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on audit_event: insert to cf_builders; insert to cf_cache; insert to cf_controls; insert to cf_enroll; insert to cf_hooks; insert to cf_ingest; insert, select to cf_operators; insert to cf_scheduler;

create table audit_pending (
  event_id text not null,
  tenant_id text not null,
  constraint audit_pending_pkey PRIMARY KEY (event_id)
);
alter table audit_pending enable row level security;
alter table audit_pending force row level security;
create policy tenant on audit_pending for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on audit_pending: insert to cf_builders; insert to cf_cache; insert to cf_controls; insert to cf_enroll; insert to cf_hooks; insert to cf_ingest; insert to cf_operators; insert to cf_scheduler;

create table builder (
  id text not null default new_id('bld'::text),
  tenant_id text not null,
  name text not null,
  active boolean not null default true,
  nix_version text,
  systems text[] not null default '{}'::text[],
  scanner text,
  isolation text,
  last_seen_at timestamp with time zone,
  created_at timestamp with time zone not null default now(),
  constraint builder_name_check CHECK ((name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'::text)),
  constraint builder_pkey PRIMARY KEY (id),
  constraint builder_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(id),
  constraint builder_tenant_id_name_key UNIQUE (tenant_id, name)
);
alter table builder enable row level security;
alter table builder force row level security;
create policy dashboards on builder for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy dashboards_only on builder as restrictive for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy tenant on builder for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on builder: select to cf_builders; select to cf_cache; select to cf_dashboards; insert, select, update to cf_operators; select to cf_scheduler;
grant on column nix_version of builder: update to cf_builders;
grant on column systems of builder: update to cf_builders;
grant on column scanner of builder: update to cf_builders;
grant on column isolation of builder: update to cf_builders;
grant on column last_seen_at of builder: update to cf_builders; update to cf_cache;

create table builder_key (
  key_id text not null,
  tenant_id text not null,
  builder_id text not null,
  public_key bytea not null,
  status text not null default 'active'::text,
  created_at timestamp with time zone not null default now(),
  revoked_at timestamp with time zone,
  constraint builder_key_builder_id_fkey FOREIGN KEY (builder_id) REFERENCES builder(id),
  constraint builder_key_pkey PRIMARY KEY (key_id),
  constraint builder_key_public_key_check CHECK ((length(public_key) = 32)),
  constraint builder_key_public_key_key UNIQUE (public_key),
  constraint builder_key_status_check CHECK ((status = ANY (ARRAY['active'::text, 'revoked'::text]))),
  constraint builder_key_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(id)
);
CREATE INDEX builder_key_by_builder ON public.builder_key USING btree (builder_id);
CREATE TRIGGER one_owner_per_key BEFORE INSERT ON public.builder_key FOR EACH ROW EXECUTE FUNCTION refuse_owned_key();
alter table builder_key enable row level security;
alter table builder_key force row level security;
create policy presented on builder_key for select to public using (key_id = ( SELECT cf_lookup() AS cf_lookup));
create policy tenant on builder_key for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on builder_key: select to cf_builders; select to cf_cache; insert, select to cf_operators;
grant on column tenant_id of builder_key: select to cf_scheduler;
grant on column builder_id of builder_key: select to cf_scheduler;
grant on column status of builder_key: update to cf_operators; select to cf_scheduler;
grant on column created_at of builder_key: select to cf_scheduler;
grant on column revoked_at of builder_key: update to cf_operators;

create table closure (
  tenant_id text not null,
  toplevel text not null,
  path_ids bigint[] not null,
  nar_size bigint not null,
  sha256 text not null,
  created_at timestamp with time zone not null default now(),
  constraint closure_pkey PRIMARY KEY (tenant_id, toplevel),
  constraint closure_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(id)
);
alter table closure enable row level security;
alter table closure force row level security;
create policy dashboards on closure for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy dashboards_only on closure as restrictive for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy tenant on closure for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on closure: select to cf_builders; insert, select to cf_cache; select to cf_dashboards; select to cf_operators;

create table commit (
  id text not null default new_id('cmt'::text),
  tenant_id text not null,
  flake_id text not null,
  rev text not null,
  "position" bigint not null,
  committed_at timestamp with time zone not null,
  subject text not null default ''::text,
  on_branch boolean not null default true,
  state text not null default 'pending'::text,
  error text,
  discovered_at timestamp with time zone not null default now(),
  evaluated_at timestamp with time zone,
  constraint commit_flake_id_fkey FOREIGN KEY (flake_id) REFERENCES flake(id),
  constraint commit_flake_id_position_key UNIQUE (flake_id, "position"),
  constraint commit_flake_id_rev_key UNIQUE (flake_id, rev),
  constraint commit_pkey PRIMARY KEY (id),
  constraint commit_rev_check CHECK ((rev ~ '^[0-9a-f]{40}$'::text)),
  constraint commit_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'evaluating'::text, 'evaluated'::text, 'failed'::text, 'skipped'::text]))),
  constraint commit_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(id)
);
CREATE INDEX commit_discovered ON public.commit USING btree (tenant_id, discovered_at);
CREATE INDEX commit_newest ON public.commit USING btree (tenant_id, flake_id, "position" DESC);
alter table commit enable row level security;
alter table commit force row level security;
create policy dashboards on commit for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy dashboards_only on commit as restrictive for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy tenant on commit for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on commit: insert, select, update to cf_builders; select to cf_controls; select to cf_dashboards; select to cf_operators; select to cf_scheduler;
grant on column state of commit: update to cf_operators; update to cf_scheduler;
grant on column error of commit: update to cf_operators; update to cf_scheduler;

create table configuration (
  id text not null default new_id('cfg'::text),
  tenant_id text not null,
  flake_id text not null,
  name text not null,
  latest_position bigint,
  latest_evaluation_id text,
  desired_position bigint,
  desired_evaluation_id text,
  constraint configuration_flake_id_fkey FOREIGN KEY (flake_id) REFERENCES flake(id),
  constraint configuration_flake_id_name_key UNIQUE (flake_id, name),
  constraint configuration_name_check CHECK (((length(name) >= 1) AND (length(name) <= 128))),
  constraint configuration_pkey PRIMARY KEY (id),
  constraint configuration_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(id)
);
alter table configuration enable row level security;
alter table configuration force row level security;
create policy dashboards on configuration for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy dashboards_only on configuration as restrictive for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy tenant on configuration for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on configuration: insert, select, update to cf_builders; select to cf_controls; select to cf_dashboards; insert, select to cf_enroll; insert, select, update to cf_operators; select to cf_scheduler;

create table configuration_path (
  configuration_id text not null,
  out_path text not null,
  tenant_id text not null,
  first_position bigint not null,
  last_position bigint not null,
  constraint configuration_path_configuration_id_fkey FOREIGN KEY (configuration_id) REFERENCES configuration(id),
  constraint configuration_path_pkey PRIMARY KEY (configuration_id, out_path),
  constraint configuration_path_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(id)
);
CREATE INDEX configuration_path_by_path ON public.configuration_path USING btree (tenant_id, out_path);
alter table configuration_path enable row level security;
alter table configuration_path force row level security;
create policy dashboards on configuration_path for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy dashboards_only on configuration_path as restrictive for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy tenant on configuration_path for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on configuration_path: insert, select, update to cf_builders; select to cf_dashboards; select to cf_operators;

create table control_evidence (
  id text not null default new_id('cev'::text),
  tenant_id text not null,
  system_id text not null,
  rule_id text not null,
  source text not null,
  holds boolean not null,
  statement text not null,
  toplevel text,
  claimed_status text,
  document_sha256 bytea,
  author text not null,
  collected_at timestamp with time zone not null,
  expires_at timestamp with time zone not null,
  recorded_at timestamp with time zone not null default now(),
  author_subject text,
  constraint control_evidence_check CHECK (((expires_at > collected_at) AND (expires_at <= (collected_at + '3650 days'::interval)))),
  constraint control_evidence_document_sha256_check CHECK ((length(document_sha256) = 32)),
  constraint control_evidence_pkey PRIMARY KEY (id),
  constraint control_evidence_rule_id_check CHECK ((rule_id ~ '^V-[0-9]{6}$'::text)),
  constraint control_evidence_source_check CHECK ((source = ANY (ARRAY['attestation'::text, 'import'::text]))),
  constraint control_evidence_statement_check CHECK (((length(statement) >= 1) AND (length(statement) <= 4000))),
  constraint control_evidence_system_id_fkey FOREIGN KEY (system_id) REFERENCES system(id),
  constraint control_evidence_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(id)
);
CREATE INDEX control_evidence_newest ON public.control_evidence USING btree (system_id, rule_id, collected_at DESC);
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE ON public.control_evidence FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON public.control_evidence FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
alter table control_evidence enable row level security;
alter table control_evidence force row level security;
create policy dashboards on control_evidence for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy dashboards_only on control_evidence as restrictive for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy tenant on control_evidence for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on control_evidence: insert, select to cf_controls;
grant on column id of control_evidence: select to cf_dashboards;
grant on column tenant_id of control_evidence: select to cf_dashboards;
grant on column system_id of control_evidence: select to cf_dashboards;
grant on column rule_id of control_evidence: select to cf_dashboards;
grant on column source of control_evidence: select to cf_dashboards;
grant on column holds of control_evidence: select to cf_dashboards;
grant on column author of control_evidence: select to cf_dashboards;
grant on column collected_at of control_evidence: select to cf_dashboards;
grant on column expires_at of control_evidence: select to cf_dashboards;

create table control_evidence_decision (
  id text not null default new_id('ced'::text),
  tenant_id text not null,
  evidence_id text not null,
  decision text not null,
  person text not null,
  reason text not null default ''::text,
  decided_at timestamp with time zone not null default now(),
  subject text,
  constraint control_evidence_decision_decision_check CHECK ((decision = ANY (ARRAY['accepted'::text, 'rejected'::text]))),
  constraint control_evidence_decision_evidence_id_fkey FOREIGN KEY (evidence_id) REFERENCES control_evidence(id),
  constraint control_evidence_decision_pkey PRIMARY KEY (id),
  constraint control_evidence_decision_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(id)
);
CREATE INDEX control_evidence_decision_newest ON public.control_evidence_decision USING btree (evidence_id, decided_at DESC);
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE ON public.control_evidence_decision FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON public.control_evidence_decision FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER own_acceptance BEFORE INSERT ON public.control_evidence_decision FOR EACH ROW EXECUTE FUNCTION refuse_own_acceptance();
alter table control_evidence_decision enable row level security;
alter table control_evidence_decision force row level security;
create policy dashboards on control_evidence_decision for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy dashboards_only on control_evidence_decision as restrictive for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy tenant on control_evidence_decision for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on control_evidence_decision: insert, select to cf_controls;
grant on column id of control_evidence_decision: select to cf_dashboards;
grant on column tenant_id of control_evidence_decision: select to cf_dashboards;
grant on column evidence_id of control_evidence_decision: select to cf_dashboards;
grant on column decision of control_evidence_decision: select to cf_dashboards;
grant on column person of control_evidence_decision: select to cf_dashboards;
grant on column decided_at of control_evidence_decision: select to cf_dashboards;

create table control_facts (
  id text not null default new_id('cfm'::text),
  tenant_id text not null,
  system_id text not null,
  message_id text not null,
  sequence bigint not null,
  previous_sha256 bytea,
  boot_id text,
  current_path text not null,
  booted_path text,
  stig_report_sha256 bytea,
  agent_version text not null,
  facts jsonb not null,
  evidence_sha256 bytea not null,
  collected_at timestamp with time zone not null,
  received_at timestamp with time zone not null default now(),
  constraint control_facts_evidence_sha256_check CHECK ((length(evidence_sha256) = 32)),
  constraint control_facts_pkey PRIMARY KEY (id),
  constraint control_facts_previous_sha256_check CHECK ((length(previous_sha256) = 32)),
  constraint control_facts_sequence_check CHECK ((sequence >= 1)),
  constraint control_facts_stig_report_sha256_check CHECK ((length(stig_report_sha256) = 32)),
  constraint control_facts_system_id_fkey FOREIGN KEY (system_id) REFERENCES system(id),
  constraint control_facts_system_id_message_id_key UNIQUE (system_id, message_id),
  constraint control_facts_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(id)
);
CREATE INDEX control_facts_newest ON public.control_facts USING btree (system_id, collected_at DESC);
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE ON public.control_facts FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON public.control_facts FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
alter table control_facts enable row level security;
alter table control_facts force row level security;
create policy dashboards on control_facts for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy dashboards_only on control_facts as restrictive for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy tenant on control_facts for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on control_facts: select to cf_controls; insert, select to cf_ingest;
grant on column id of control_facts: select to cf_dashboards;
grant on column tenant_id of control_facts: select to cf_dashboards;
grant on column system_id of control_facts: select to cf_dashboards;
grant on column current_path of control_facts: select to cf_dashboards;
grant on column collected_at of control_facts: select to cf_dashboards;
grant on column received_at of control_facts: select to cf_dashboards;

create table cve (
  tenant_id text not null,
  id text not null,
  cvss3 numeric(3,1),
  description text,
  first_seen_at timestamp with time zone not null default now(),
  constraint cve_id_check CHECK ((id ~ '^[A-Z]+-[0-9A-Za-z-]{4,40}$'::text)),
  constraint cve_pkey PRIMARY KEY (tenant_id, id),
  constraint cve_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(id)
);
alter table cve enable row level security;
alter table cve force row level security;
create policy dashboards on cve for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy dashboards_only on cve as restrictive for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy tenant on cve for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on cve: insert, select, update to cf_builders; select to cf_dashboards; select to cf_operators;

create table dashboard_login (
  login name not null,
  tenant text not null,
  constraint dashboard_login_pkey PRIMARY KEY (login),
  constraint dashboard_login_tenant_fkey FOREIGN KEY (tenant) REFERENCES tenant(id)
);

create table deployment (
  id text not null default new_id('dpl'::text),
  tenant_id text not null,
  system_id text not null,
  sequence bigint not null,
  toplevel text not null,
  commit_id text,
  state text not null default 'draft'::text,
  envelope jsonb,
  reason text,
  created_by text not null,
  created_at timestamp with time zone not null default now(),
  ended_at timestamp with time zone,
  constraint deployment_commit_id_fkey FOREIGN KEY (commit_id) REFERENCES commit(id),
  constraint deployment_pkey PRIMARY KEY (id),
  constraint deployment_state_check CHECK ((state = ANY (ARRAY['draft'::text, 'awaiting_approval'::text, 'ordered'::text, 'accepted'::text, 'refused'::text, 'confirmed'::text, 'reverted'::text, 'expired'::text, 'cancelled'::text]))),
  constraint deployment_system_id_fkey FOREIGN KEY (system_id) REFERENCES system(id),
  constraint deployment_system_id_sequence_key UNIQUE (system_id, sequence),
  constraint deployment_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(id)
);
alter table deployment enable row level security;
alter table deployment force row level security;
create policy tenant on deployment for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on deployment: select to cf_operators; select to cf_scheduler;
grant on column state of deployment: update to cf_scheduler;
grant on column ended_at of deployment: update to cf_scheduler;

create table derivation (
  id text not null default new_id('drv'::text),
  tenant_id text not null,
  drv_path text not null,
  out_path text not null,
  name text not null,
  system text not null default 'x86_64-linux'::text,
  export_key text,
  state text not null default 'pending'::text,
  failure_class text,
  error text,
  attempts integer not null default 0,
  nar_hash text,
  closure_sha256 text,
  built_at timestamp with time zone,
  scan_state text not null default 'unscanned'::text,
  scanned_at timestamp with time zone,
  created_at timestamp with time zone not null default now(),
  constraint derivation_pkey PRIMARY KEY (id),
  constraint derivation_scan_state_check CHECK ((scan_state = ANY (ARRAY['unscanned'::text, 'scanned'::text, 'no_scanner'::text, 'failed'::text]))),
  constraint derivation_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'building'::text, 'built'::text, 'cached'::text, 'failed'::text]))),
  constraint derivation_tenant_id_drv_path_key UNIQUE (tenant_id, drv_path),
  constraint derivation_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(id)
);
CREATE INDEX derivation_out_path ON public.derivation USING btree (tenant_id, out_path);
CREATE INDEX derivation_unfinished ON public.derivation USING btree (tenant_id, id DESC) WHERE (state <> 'cached'::text);
alter table derivation enable row level security;
alter table derivation force row level security;
create policy dashboards on derivation for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy dashboards_only on derivation as restrictive for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy tenant on derivation for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on derivation: insert, select, update to cf_builders; select to cf_controls; select to cf_dashboards; select to cf_operators; select to cf_scheduler; select to cf_status;
grant on column state of derivation: update to cf_operators; update to cf_scheduler;
grant on column failure_class of derivation: update to cf_operators; update to cf_scheduler;
grant on column error of derivation: update to cf_operators; update to cf_scheduler;
grant on column scan_state of derivation: update to cf_scheduler;

create table enroll_token (
  id text not null default new_id('enr'::text),
  tenant_id text not null,
  key_id text not null,
  public_key bytea not null,
  hostname_pattern text not null,
  environment_id text,
  flake_id text,
  created_by text not null,
  expires_at timestamp with time zone not null,
  used_at timestamp with time zone,
  used_by_system_id text,
  created_at timestamp with time zone not null default now(),
  revoked_at timestamp with time zone,
  constraint enroll_token_check CHECK ((expires_at <= (created_at + '24:00:00'::interval))),
  constraint enroll_token_environment_id_fkey FOREIGN KEY (environment_id) REFERENCES environment(id),
  constraint enroll_token_flake_id_fkey FOREIGN KEY (flake_id) REFERENCES flake(id),
  constraint enroll_token_hostname_pattern_check CHECK ((hostname_pattern ~ '^[A-Za-z0-9.*-]{1,253}$'::text)),
  constraint enroll_token_key_id_key UNIQUE (key_id),
  constraint enroll_token_pkey PRIMARY KEY (id),
  constraint enroll_token_public_key_check CHECK ((length(public_key) = 32)),
  constraint enroll_token_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(id),
  constraint enroll_token_used_by_system_id_fkey FOREIGN KEY (used_by_system_id) REFERENCES system(id),
  constraint enroll_token_used_or_revoked CHECK (((used_at IS NULL) OR (revoked_at IS NULL)))
);
alter table enroll_token enable row level security;
alter table enroll_token force row level security;
create policy presented on enroll_token for select to public using (key_id = ( SELECT cf_lookup() AS cf_lookup));
create policy tenant on enroll_token for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on enroll_token: select to cf_enroll; insert, select to cf_operators;
grant on column used_at of enroll_token: update to cf_enroll;
grant on column used_by_system_id of enroll_token: update to cf_enroll;
grant on column revoked_at of enroll_token: update to cf_operators;

create table environment (
  id text not null default new_id('env'::text),
  tenant_id text not null,
  name text not null,
  description text not null default ''::text,
  risk_profile text not null default 'MEDIUM'::text,
  compliance_level text not null default 'NONE'::text,
  active boolean not null default true,
  constraint environment_name_check CHECK (((length(name) >= 1) AND (length(name) <= 64))),
  constraint environment_pkey PRIMARY KEY (id),
  constraint environment_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(id),
  constraint environment_tenant_id_name_key UNIQUE (tenant_id, name)
);
alter table environment enable row level security;
alter table environment force row level security;
create policy dashboards on environment for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy dashboards_only on environment as restrictive for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy tenant on environment for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on environment: select to cf_controls; select to cf_dashboards; select to cf_enroll; insert, select, update to cf_operators;

create table evaluation (
  id text not null default new_id('evl'::text),
  tenant_id text not null,
  commit_id text not null,
  configuration_id text not null,
  state text not null,
  error_class text,
  error text,
  error_trace text,
  derivation_id text,
  agent_assertion boolean,
  facts jsonb not null default '{}'::jsonb,
  stig_report jsonb,
  evaluator text not null,
  duration_ms integer not null,
  evaluated_at timestamp with time zone not null default now(),
  rule_states jsonb generated always as (stig_rule_states(stig_report)) stored,
  constraint evaluation_check CHECK (((state = 'ok'::text) = (derivation_id IS NOT NULL))),
  constraint evaluation_commit_id_configuration_id_key UNIQUE (commit_id, configuration_id),
  constraint evaluation_commit_id_fkey FOREIGN KEY (commit_id) REFERENCES commit(id),
  constraint evaluation_configuration_id_fkey FOREIGN KEY (configuration_id) REFERENCES configuration(id),
  constraint evaluation_derivation_id_fkey FOREIGN KEY (derivation_id) REFERENCES derivation(id),
  constraint evaluation_error_class_check CHECK ((error_class = ANY (ARRAY['eval'::text, 'timeout'::text, 'infra'::text]))),
  constraint evaluation_pkey PRIMARY KEY (id),
  constraint evaluation_state_check CHECK ((state = ANY (ARRAY['ok'::text, 'error'::text]))),
  constraint evaluation_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(id)
);
CREATE INDEX evaluation_by_configuration ON public.evaluation USING btree (configuration_id, evaluated_at DESC);
CREATE INDEX evaluation_by_derivation ON public.evaluation USING btree (derivation_id);
CREATE INDEX evaluation_errors ON public.evaluation USING btree (tenant_id, id DESC) WHERE (state = 'error'::text);
alter table evaluation enable row level security;
alter table evaluation force row level security;
create policy dashboards on evaluation for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy dashboards_only on evaluation as restrictive for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy tenant on evaluation for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on evaluation: insert, select, update to cf_builders; select to cf_controls; select to cf_dashboards; select to cf_operators; select to cf_scheduler;

create table evidence_object (
  tenant_id text not null,
  sha256 bytea not null,
  body bytea not null,
  created_at timestamp with time zone not null default now(),
  constraint evidence_object_check CHECK ((sha256(body) = sha256)),
  constraint evidence_object_pkey PRIMARY KEY (tenant_id, sha256),
  constraint evidence_object_sha256_check CHECK ((length(sha256) = 32))
);
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE ON public.evidence_object FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON public.evidence_object FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
alter table evidence_object enable row level security;
alter table evidence_object force row level security;
create policy tenant on evidence_object for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on evidence_object: insert to cf_builders; insert to cf_enroll; insert, select to cf_ingest; insert to cf_operators;

create table finding (
  id text not null default new_id('fnd'::text),
  tenant_id text not null,
  scan_id text not null,
  out_path text not null,
  cve_id text not null,
  package text not null,
  version text not null,
  derivation text,
  whitelisted boolean not null default false,
  found_at timestamp with time zone not null default now(),
  constraint finding_pkey PRIMARY KEY (id),
  constraint finding_scan_id_fkey FOREIGN KEY (scan_id) REFERENCES scan(id),
  constraint finding_tenant_id_cve_id_fkey FOREIGN KEY (tenant_id, cve_id) REFERENCES cve(tenant_id, id),
  constraint finding_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(id)
);
CREATE INDEX finding_by_cve ON public.finding USING btree (tenant_id, cve_id);
CREATE INDEX finding_by_package ON public.finding USING btree (tenant_id, package);
CREATE INDEX finding_by_path ON public.finding USING btree (tenant_id, out_path);
alter table finding enable row level security;
alter table finding force row level security;
create policy dashboards on finding for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy dashboards_only on finding as restrictive for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy tenant on finding for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on finding: insert to cf_builders; select to cf_dashboards; select to cf_operators;

create table flake (
  id text not null default new_id('flk'::text),
  tenant_id text not null,
  name text not null,
  repository_url text not null,
  source jsonb not null,
  branch text not null default 'main'::text,
  auto_poll boolean not null default true,
  poll_interval_s integer not null default 600,
  initial_commit_depth integer not null default 5,
  next_poll_at timestamp with time zone not null default now(),
  resolved_at timestamp with time zone,
  last_error text,
  active boolean not null default true,
  created_at timestamp with time zone not null default now(),
  constraint flake_initial_commit_depth_check CHECK (((initial_commit_depth >= 1) AND (initial_commit_depth <= 100))),
  constraint flake_name_check CHECK ((name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'::text)),
  constraint flake_pkey PRIMARY KEY (id),
  constraint flake_poll_interval_s_check CHECK (((poll_interval_s >= 10) AND (poll_interval_s <= 86400))),
  constraint flake_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(id),
  constraint flake_tenant_id_name_key UNIQUE (tenant_id, name)
);
CREATE INDEX flake_due ON public.flake USING btree (next_poll_at) WHERE (active AND auto_poll);
alter table flake enable row level security;
alter table flake force row level security;
create policy dashboards on flake for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy dashboards_only on flake as restrictive for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy tenant on flake for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on flake: select to cf_builders; select to cf_controls; select to cf_dashboards; select to cf_enroll; select to cf_hooks; insert, select, update to cf_operators; select to cf_scheduler;
grant on column next_poll_at of flake: update to cf_builders; update to cf_scheduler;
grant on column resolved_at of flake: update to cf_builders;
grant on column last_error of flake: update to cf_builders; update to cf_scheduler;

create table fleet_day (
  tenant_id text not null,
  day date not null,
  systems integer not null,
  up_to_date integer not null,
  behind integer not null,
  no_evaluation integer not null,
  offline integer not null,
  never_seen integer not null,
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
  seconds_to_deploy double precision,
  recorded_at timestamp with time zone not null default now(),
  constraint fleet_day_pkey PRIMARY KEY (tenant_id, day),
  constraint fleet_day_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(id)
);
alter table fleet_day enable row level security;
alter table fleet_day force row level security;
create policy dashboards on fleet_day for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy dashboards_only on fleet_day as restrictive for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy tenant on fleet_day for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on fleet_day: select to cf_dashboards;

create table heartbeat (
  system_id text not null,
  day date not null,
  tenant_id text not null,
  beats integer not null,
  minutes bit varying(1440) not null,
  first_at timestamp with time zone not null,
  last_at timestamp with time zone not null,
  constraint heartbeat_pkey PRIMARY KEY (system_id, day),
  constraint heartbeat_system_id_fkey FOREIGN KEY (system_id) REFERENCES system(id),
  constraint heartbeat_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(id)
) with (fillfactor=70);
alter table heartbeat enable row level security;
alter table heartbeat force row level security;
create policy dashboards on heartbeat for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy dashboards_only on heartbeat as restrictive for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy tenant on heartbeat for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on heartbeat: select to cf_dashboards; insert, select, update to cf_ingest; select to cf_operators;

create table hook (
  id text not null,
  tenant_id text not null,
  flake_id text not null,
  provider text not null,
  secret_sealed bytea not null,
  previous_secret_sealed bytea,
  active boolean not null default true,
  created_at timestamp with time zone not null default now(),
  constraint hook_flake_id_fkey FOREIGN KEY (flake_id) REFERENCES flake(id),
  constraint hook_flake_id_provider_key UNIQUE (flake_id, provider),
  constraint hook_id_check CHECK (((length(id) >= 20) AND (length(id) <= 64))),
  constraint hook_pkey PRIMARY KEY (id),
  constraint hook_provider_check CHECK ((provider = ANY (ARRAY['github'::text, 'gitlab'::text, 'gitea'::text, 'forgejo'::text, 'bitbucket'::text]))),
  constraint hook_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(id)
);
alter table hook enable row level security;
alter table hook force row level security;
create policy presented on hook for select to public using (id = ( SELECT cf_lookup() AS cf_lookup));
create policy tenant on hook for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on hook: select to cf_hooks; insert, select, update to cf_operators;

create table hook_delivery (
  hook_id text not null,
  delivery_id text not null,
  tenant_id text not null,
  body_sha256 bytea not null,
  received_at timestamp with time zone not null default now(),
  outcome text not null,
  constraint hook_delivery_delivery_id_check CHECK (((length(delivery_id) >= 1) AND (length(delivery_id) <= 128))),
  constraint hook_delivery_hook_id_fkey FOREIGN KEY (hook_id) REFERENCES hook(id),
  constraint hook_delivery_pkey PRIMARY KEY (hook_id, delivery_id),
  constraint hook_delivery_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(id)
);
CREATE INDEX hook_delivery_age ON public.hook_delivery USING btree (received_at);
CREATE INDEX hook_delivery_recent ON public.hook_delivery USING btree (hook_id, body_sha256, received_at);
alter table hook_delivery enable row level security;
alter table hook_delivery force row level security;
create policy tenant on hook_delivery for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on hook_delivery: insert, select to cf_hooks; select to cf_operators; delete, select to cf_scheduler;

create table job (
  id text not null default new_id('job'::text),
  tenant_id text not null,
  kind text not null,
  subject text not null,
  state text not null default 'queued'::text,
  attempt integer not null default 1,
  fence bigint,
  builder_id text,
  lease_until timestamp with time zone,
  priority bigint not null default 0,
  not_before timestamp with time zone not null default now(),
  payload jsonb not null,
  progress jsonb,
  failure_class text,
  failure_message text,
  log_tail text,
  attestation jsonb,
  created_at timestamp with time zone not null default now(),
  hinted_at timestamp with time zone,
  started_at timestamp with time zone,
  finished_at timestamp with time zone,
  constraint job_attempt_check CHECK ((attempt >= 1)),
  constraint job_builder_id_fkey FOREIGN KEY (builder_id) REFERENCES builder(id),
  constraint job_check CHECK (((state = 'leased'::text) = (lease_until IS NOT NULL))),
  constraint job_failure_class_check CHECK ((failure_class = ANY (ARRAY['infra'::text, 'oom'::text, 'timeout'::text, 'build'::text, 'eval'::text, 'hash_mismatch'::text, 'cancelled'::text]))),
  constraint job_kind_check CHECK ((kind = ANY (ARRAY['resolve'::text, 'evaluate'::text, 'build'::text, 'scan'::text]))),
  constraint job_pkey PRIMARY KEY (id),
  constraint job_state_check CHECK ((state = ANY (ARRAY['queued'::text, 'leased'::text, 'succeeded'::text, 'failed'::text, 'cancelled'::text]))),
  constraint job_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(id)
);
CREATE INDEX job_by_state ON public.job USING btree (tenant_id, state, id DESC);
CREATE INDEX job_by_subject ON public.job USING btree (tenant_id, subject);
CREATE INDEX job_claim ON public.job USING btree (tenant_id, kind, priority DESC, id) WHERE (state = 'queued'::text);
CREATE INDEX job_expired ON public.job USING btree (lease_until) WHERE (state = 'leased'::text);
CREATE INDEX job_finished ON public.job USING btree (tenant_id, finished_at) WHERE (finished_at IS NOT NULL);
CREATE INDEX job_newest ON public.job USING btree (tenant_id, id DESC);
CREATE UNIQUE INDEX job_open ON public.job USING btree (tenant_id, kind, subject) WHERE (state = ANY (ARRAY['queued'::text, 'leased'::text]));
CREATE INDEX job_unhinted ON public.job USING btree (COALESCE(hinted_at, created_at)) WHERE (state = 'queued'::text);
alter table job enable row level security;
alter table job force row level security;
create policy dashboards on job for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy dashboards_only on job as restrictive for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy tenant on job for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on job: insert, select, update to cf_builders; select to cf_cache; select to cf_dashboards; insert, select, update to cf_hooks; insert, select, update to cf_operators; insert, select, update to cf_scheduler; select to cf_status;

create table job_attempt (
  job_id text not null,
  attempt integer not null,
  fence bigint not null,
  tenant_id text not null,
  builder_id text not null,
  started_at timestamp with time zone not null,
  ended_at timestamp with time zone,
  outcome text not null,
  failure_class text,
  message text,
  answer jsonb,
  constraint job_attempt_builder_id_fkey FOREIGN KEY (builder_id) REFERENCES builder(id),
  constraint job_attempt_job_id_fkey FOREIGN KEY (job_id) REFERENCES job(id),
  constraint job_attempt_outcome_check CHECK ((outcome = ANY (ARRAY['running'::text, 'succeeded'::text, 'failed'::text, 'expired'::text, 'late'::text]))),
  constraint job_attempt_pkey PRIMARY KEY (job_id, fence, outcome),
  constraint job_attempt_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(id)
);
alter table job_attempt enable row level security;
alter table job_attempt force row level security;
create policy tenant on job_attempt for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on job_attempt: insert, select, update to cf_builders; select to cf_operators; select, update to cf_scheduler;
grant on column ended_at of job_attempt: update to cf_operators;
grant on column outcome of job_attempt: update to cf_operators;
grant on column failure_class of job_attempt: update to cf_operators;
grant on column message of job_attempt: update to cf_operators;

create table outbox (
  id bigint not null generated always as identity,
  tenant_id text not null,
  queue text not null,
  body jsonb not null,
  not_before timestamp with time zone not null default now(),
  created_at timestamp with time zone not null default now(),
  constraint outbox_pkey PRIMARY KEY (id),
  constraint outbox_queue_check CHECK ((queue = ANY (ARRAY['resolve'::text, 'evaluate'::text, 'build'::text, 'scan'::text]))),
  constraint outbox_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(id)
);
alter table outbox enable row level security;
alter table outbox force row level security;
create policy scheduler on outbox for select to cf_scheduler using true;
create policy tenant on outbox for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on outbox: insert, select to cf_builders; insert, select to cf_hooks; insert, select to cf_operators; delete, insert, select to cf_scheduler;
grant on column not_before of outbox: update to cf_scheduler;

create table report_receipt (
  system_id text not null,
  report_id text not null,
  tenant_id text not null,
  kind text not null,
  digest bytea not null,
  received_at timestamp with time zone not null default now(),
  constraint report_receipt_kind_check CHECK ((kind = ANY (ARRAY['state'::text, 'heartbeat'::text]))),
  constraint report_receipt_pkey PRIMARY KEY (system_id, report_id)
);
CREATE INDEX report_receipt_age ON public.report_receipt USING btree (received_at);
alter table report_receipt enable row level security;
alter table report_receipt force row level security;
create policy tenant on report_receipt for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on report_receipt: insert, select to cf_ingest; delete, select to cf_scheduler;

create table request_nonce (
  key_id text not null,
  nonce text not null,
  tenant_id text not null,
  expires_at timestamp with time zone not null,
  constraint request_nonce_pkey PRIMARY KEY (key_id, nonce, expires_at)
) partition by RANGE (expires_at);
alter table request_nonce enable row level security;
alter table request_nonce force row level security;
create policy tenant on request_nonce for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on request_nonce: insert, select to cf_builders; insert, select to cf_cache; insert, select to cf_enroll; insert, select to cf_ingest;

create table request_nonce_other (
  key_id text not null,
  nonce text not null,
  tenant_id text not null,
  expires_at timestamp with time zone not null,
  constraint request_nonce_other_pkey PRIMARY KEY (key_id, nonce, expires_at)
) partition of request_nonce default;

create table scan (
  id text not null default new_id('scn'::text),
  tenant_id text not null,
  derivation_id text not null,
  out_path text not null,
  job_id text not null,
  outcome text not null,
  scanner text,
  message text,
  scanned_at timestamp with time zone not null default now(),
  constraint scan_derivation_id_fkey FOREIGN KEY (derivation_id) REFERENCES derivation(id),
  constraint scan_job_id_fkey FOREIGN KEY (job_id) REFERENCES job(id),
  constraint scan_outcome_check CHECK ((outcome = ANY (ARRAY['scanned'::text, 'no_scanner'::text, 'failed'::text]))),
  constraint scan_pkey PRIMARY KEY (id),
  constraint scan_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(id)
);
CREATE INDEX scan_newest ON public.scan USING btree (tenant_id, out_path, scanned_at DESC);
alter table scan enable row level security;
alter table scan force row level security;
create policy dashboards on scan for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy dashboards_only on scan as restrictive for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy tenant on scan for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on scan: insert, select to cf_builders; select to cf_dashboards; select to cf_operators; insert, select to cf_scheduler;

create table schema_migration (
  name text not null,
  sha256 text not null,
  compatible boolean not null,
  applied_at timestamp with time zone not null default now(),
  constraint schema_migration_pkey PRIMARY KEY (name)
);
grant on schema_migration: select to public;

create table schema_repeatable (
  name text not null,
  sha256 text not null,
  constraint schema_repeatable_pkey PRIMARY KEY (name)
);

create table store_path (
  id bigint not null generated always as identity,
  tenant_id text not null,
  path text not null,
  nar_hash text not null,
  nar_size bigint not null,
  reference_ids bigint[] not null,
  deriver text,
  ca text,
  url text not null,
  compression text not null,
  file_hash text not null,
  file_size bigint not null,
  signature text not null,
  builder_id text not null,
  committed_at timestamp with time zone not null default now(),
  published_at timestamp with time zone,
  constraint store_path_builder_id_fkey FOREIGN KEY (builder_id) REFERENCES builder(id),
  constraint store_path_pkey PRIMARY KEY (id),
  constraint store_path_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(id),
  constraint store_path_tenant_id_path_key UNIQUE (tenant_id, path)
);
CREATE INDEX store_path_unpublished ON public.store_path USING btree (tenant_id, id) WHERE (published_at IS NULL);
alter table store_path enable row level security;
alter table store_path force row level security;
create policy tenant on store_path for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on store_path: select to cf_builders; insert, select to cf_cache; select to cf_operators; select to cf_scheduler;
grant on column reference_ids of store_path: update to cf_cache;
grant on column url of store_path: update to cf_cache;
grant on column compression of store_path: update to cf_cache;
grant on column file_hash of store_path: update to cf_cache;
grant on column file_size of store_path: update to cf_cache;
grant on column signature of store_path: update to cf_cache;
grant on column builder_id of store_path: update to cf_cache;
grant on column published_at of store_path: update to cf_cache; update to cf_scheduler;

create table system (
  id text not null default new_id('sys'::text),
  tenant_id text not null,
  hostname text not null,
  environment_id text,
  flake_id text,
  configuration_id text,
  policy text not null default 'manual'::text,
  desired_target text,
  order_sequence bigint not null default 0,
  active boolean not null default true,
  created_at timestamp with time zone not null default now(),
  deactivated_at timestamp with time zone,
  constraint system_check CHECK (((flake_id IS NULL) = (configuration_id IS NULL))),
  constraint system_configuration_id_fkey FOREIGN KEY (configuration_id) REFERENCES configuration(id),
  constraint system_environment_id_fkey FOREIGN KEY (environment_id) REFERENCES environment(id),
  constraint system_flake_id_fkey FOREIGN KEY (flake_id) REFERENCES flake(id),
  constraint system_hostname_check CHECK ((hostname ~ '^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$'::text)),
  constraint system_pkey PRIMARY KEY (id),
  constraint system_policy_check CHECK ((policy = ANY (ARRAY['manual'::text, 'auto_latest'::text, 'pinned'::text]))),
  constraint system_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(id),
  constraint system_tenant_id_hostname_key UNIQUE (tenant_id, hostname)
);
CREATE INDEX system_by_configuration ON public.system USING btree (configuration_id);
alter table system enable row level security;
alter table system force row level security;
create policy dashboards on system for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy dashboards_only on system as restrictive for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy tenant on system for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on system: select to cf_builders; select to cf_controls; select to cf_dashboards; insert, select to cf_enroll; select to cf_ingest; insert, select, update to cf_operators; select to cf_status;
grant on column id of system: select to cf_scheduler;
grant on column tenant_id of system: select to cf_scheduler;
grant on column active of system: select to cf_scheduler;

create table system_current (
  system_id text not null,
  tenant_id text not null,
  state_id text not null,
  digest bytea not null,
  current_path text not null,
  booted_path text,
  profile_path text,
  generation bigint,
  boot_id text,
  revision text,
  failed_units text[],
  agent_version text,
  nixos_version text,
  kernel text,
  assurance text not null,
  collected_at timestamp with time zone not null,
  state_received_at timestamp with time zone not null,
  heartbeat_at timestamp with time zone,
  seen_at timestamp with time zone not null,
  constraint system_current_pkey PRIMARY KEY (system_id),
  constraint system_current_system_id_fkey FOREIGN KEY (system_id) REFERENCES system(id),
  constraint system_current_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(id)
) with (fillfactor=70);
CREATE INDEX system_current_by_path ON public.system_current USING hash (current_path);
alter table system_current enable row level security;
alter table system_current force row level security;
create policy dashboards on system_current for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy dashboards_only on system_current as restrictive for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy tenant on system_current for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on system_current: select to cf_dashboards; insert, select, update to cf_ingest; select to cf_operators;
grant on column system_id of system_current: select to cf_scheduler;
grant on column tenant_id of system_current: select to cf_scheduler;
grant on column seen_at of system_current: select to cf_scheduler;

create table system_key (
  key_id text not null,
  tenant_id text not null,
  system_id text not null,
  hostname text not null,
  public_key bytea not null,
  status text not null default 'active'::text,
  original_wire_until timestamp with time zone,
  rfc9421_used_at timestamp with time zone,
  original_last_timestamp timestamp with time zone,
  created_at timestamp with time zone not null default now(),
  revoked_at timestamp with time zone,
  revoked_because text,
  constraint system_key_pkey PRIMARY KEY (key_id),
  constraint system_key_public_key_check CHECK ((length(public_key) = 32)),
  constraint system_key_public_key_key UNIQUE (public_key),
  constraint system_key_status_check CHECK ((status = ANY (ARRAY['active'::text, 'revoked'::text]))),
  constraint system_key_system_id_fkey FOREIGN KEY (system_id) REFERENCES system(id),
  constraint system_key_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(id)
);
CREATE INDEX system_key_by_hostname ON public.system_key USING btree (hostname) WHERE (original_wire_until IS NOT NULL);
CREATE INDEX system_key_by_system ON public.system_key USING btree (system_id);
CREATE TRIGGER one_owner_per_key BEFORE INSERT ON public.system_key FOR EACH ROW EXECUTE FUNCTION refuse_owned_key();
alter table system_key enable row level security;
alter table system_key force row level security;
create policy presented on system_key for select to public using ((key_id = ( SELECT cf_lookup() AS cf_lookup)) OR ((original_wire_until IS NOT NULL) AND (hostname = ( SELECT cf_lookup() AS cf_lookup))));
create policy tenant on system_key for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on system_key: insert, select to cf_enroll; select to cf_ingest; insert, select to cf_operators;
grant on column tenant_id of system_key: select to cf_scheduler;
grant on column system_id of system_key: select to cf_scheduler;
grant on column status of system_key: update to cf_enroll; update to cf_operators; select to cf_scheduler;
grant on column original_wire_until of system_key: update to cf_operators;
grant on column rfc9421_used_at of system_key: update to cf_enroll; update to cf_ingest;
grant on column original_last_timestamp of system_key: update to cf_ingest;
grant on column created_at of system_key: select to cf_scheduler;
grant on column revoked_at of system_key: update to cf_enroll; update to cf_operators;
grant on column revoked_because of system_key: update to cf_enroll; update to cf_operators;

create table system_state (
  id text not null default new_id('sta'::text),
  tenant_id text not null,
  system_id text not null,
  report_id text not null,
  digest bytea not null,
  change_reason text not null,
  current_path text not null,
  booted_path text,
  profile_path text,
  facts jsonb not null,
  assurance text not null,
  evidence_sha256 bytea not null,
  collected_at timestamp with time zone not null,
  received_at timestamp with time zone not null default now(),
  constraint system_state_assurance_check CHECK ((assurance = ANY (ARRAY['rfc9421'::text, 'legacy'::text]))),
  constraint system_state_change_reason_check CHECK ((change_reason = ANY (ARRAY['startup'::text, 'config_change'::text, 'state_delta'::text, 'cf_deployment'::text]))),
  constraint system_state_pkey PRIMARY KEY (id),
  constraint system_state_system_id_fkey FOREIGN KEY (system_id) REFERENCES system(id)
);
CREATE INDEX system_state_by_path ON public.system_state USING btree (tenant_id, current_path);
CREATE INDEX system_state_newest ON public.system_state USING btree (system_id, received_at DESC);
alter table system_state enable row level security;
alter table system_state force row level security;
create policy dashboards on system_state for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy dashboards_only on system_state as restrictive for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy tenant on system_state for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on system_state: select to cf_controls; select to cf_dashboards; insert to cf_ingest; select to cf_operators;

create table tenant (
  id text not null default new_id('t'::text),
  tenant_id text generated always as (id) stored,
  name text not null,
  original_wire_until timestamp with time zone,
  created_at timestamp with time zone not null default now(),
  constraint tenant_name_check CHECK ((name ~ '^[a-z0-9][a-z0-9-]{0,62}$'::text)),
  constraint tenant_name_key UNIQUE (name),
  constraint tenant_pkey PRIMARY KEY (id)
);
alter table tenant enable row level security;
alter table tenant force row level security;
create policy dashboards on tenant for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy dashboards_only on tenant as restrictive for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy owner on tenant for select to postgres using true;
create policy presented on tenant for select to public using (id = ( SELECT cf_lookup() AS cf_lookup));
create policy scheduler on tenant for select to cf_scheduler using true;
create policy tenant on tenant for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on tenant: select to cf_dashboards; select to cf_enroll; select to cf_ingest; select to cf_operators; select to cf_scheduler;
grant on column original_wire_until of tenant: update to cf_operators;

create table waiver (
  id text not null default new_id('wvr'::text),
  tenant_id text not null,
  name text not null,
  rules text[] not null,
  scope jsonb not null,
  type text,
  justification text not null,
  compensating text not null default ''::text,
  residual_severity text,
  claimed jsonb,
  source text not null,
  owner text,
  milestones jsonb not null default '[]'::jsonb,
  review_at timestamp with time zone,
  author text not null,
  expires_at timestamp with time zone not null,
  renews text,
  created_at timestamp with time zone not null default now(),
  author_subject text,
  constraint waiver_justification_check CHECK (((length(justification) >= 1) AND (length(justification) <= 4000))),
  constraint waiver_name_check CHECK ((name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$'::text)),
  constraint waiver_pkey PRIMARY KEY (id),
  constraint waiver_renews_fkey FOREIGN KEY (renews) REFERENCES waiver(id),
  constraint waiver_residual_severity_check CHECK ((residual_severity = ANY (ARRAY['high'::text, 'medium'::text, 'low'::text]))),
  constraint waiver_rules_check CHECK (((cardinality(rules) >= 1) AND (cardinality(rules) <= 200))),
  constraint waiver_source_check CHECK ((source = ANY (ARRAY['operator'::text, 'configuration'::text]))),
  constraint waiver_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(id),
  constraint waiver_tenant_id_name_key UNIQUE (tenant_id, name),
  constraint waiver_type_check CHECK ((type = ANY (ARRAY['risk_accepted'::text, 'compensating_control'::text, 'false_positive'::text, 'vendor_dependency'::text])))
);
CREATE INDEX waiver_newest ON public.waiver USING btree (tenant_id, id DESC);
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE ON public.waiver FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON public.waiver FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
alter table waiver enable row level security;
alter table waiver force row level security;
create policy dashboards on waiver for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy dashboards_only on waiver as restrictive for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy tenant on waiver for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on waiver: insert, select to cf_builders; insert, select to cf_controls; select to cf_dashboards; select to cf_scheduler;

create table waiver_notice (
  tenant_id text not null,
  waiver_id text not null,
  days_before integer not null,
  at timestamp with time zone not null default now(),
  constraint waiver_notice_days_before_check CHECK ((days_before = ANY (ARRAY[30, 7, 1]))),
  constraint waiver_notice_pkey PRIMARY KEY (waiver_id, days_before),
  constraint waiver_notice_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(id),
  constraint waiver_notice_waiver_id_fkey FOREIGN KEY (waiver_id) REFERENCES waiver(id)
);
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE ON public.waiver_notice FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON public.waiver_notice FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
alter table waiver_notice enable row level security;
alter table waiver_notice force row level security;
create policy tenant on waiver_notice for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on waiver_notice: select to cf_controls; insert, select to cf_scheduler;

create table waiver_transition (
  id text not null default new_id('wvt'::text),
  tenant_id text not null,
  waiver_id text not null,
  step integer not null,
  state text not null,
  person text not null,
  reason text not null default ''::text,
  type text,
  expires_at timestamp with time zone,
  at timestamp with time zone not null default now(),
  subject text,
  constraint waiver_transition_check CHECK (((state = 'submitted'::text) OR ((type IS NULL) AND (expires_at IS NULL)))),
  constraint waiver_transition_pkey PRIMARY KEY (id),
  constraint waiver_transition_state_check CHECK ((state = ANY (ARRAY['draft'::text, 'submitted'::text, 'approved'::text, 'rejected'::text, 'renewed'::text, 'expired'::text, 'revoked'::text]))),
  constraint waiver_transition_step_check CHECK ((step >= 1)),
  constraint waiver_transition_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenant(id),
  constraint waiver_transition_type_check CHECK ((type = ANY (ARRAY['risk_accepted'::text, 'compensating_control'::text, 'false_positive'::text, 'vendor_dependency'::text]))),
  constraint waiver_transition_waiver_id_fkey FOREIGN KEY (waiver_id) REFERENCES waiver(id),
  constraint waiver_transition_waiver_id_step_key UNIQUE (waiver_id, step)
);
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE ON public.waiver_transition FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON public.waiver_transition FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER own_approval BEFORE INSERT ON public.waiver_transition FOR EACH ROW EXECUTE FUNCTION refuse_own_approval();
alter table waiver_transition enable row level security;
alter table waiver_transition force row level security;
create policy dashboards on waiver_transition for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy dashboards_only on waiver_transition as restrictive for select to cf_dashboards using (tenant_id = ( SELECT dashboards_tenant() AS dashboards_tenant));
create policy tenant on waiver_transition for all to public using (tenant_id = ( SELECT cf_tenant() AS cf_tenant)) with check (tenant_id = ( SELECT cf_tenant() AS cf_tenant));
grant on waiver_transition: insert, select to cf_builders; insert, select to cf_controls; select to cf_dashboards; insert, select to cf_scheduler;

-- Views

create view builder_list with (security_invoker=true) as
 SELECT id,
    name,
    active,
    nix_version,
    systems,
    scanner,
    isolation,
    last_seen_at,
    created_at,
    ( SELECT array_agg(k.key_id ORDER BY k.created_at) AS array_agg
           FROM builder_key k
          WHERE k.builder_id = b.id AND k.status = 'active'::text) AS keys,
    ( SELECT array_agg(j.id ORDER BY j.id) AS array_agg
           FROM job j
          WHERE j.state = 'leased'::text AND j.builder_id = b.id) AS jobs
   FROM builder b;
grant on builder_list: select to cf_operators;

create view builder_load with (security_invoker=true) as
 SELECT b.name,
    b.active,
    b.nix_version,
    array_to_string(b.systems, ', '::text) AS systems,
    b.scanner,
    b.isolation,
    b.last_seen_at,
    EXTRACT(epoch FROM now() - b.last_seen_at)::bigint AS silent_seconds,
    held.jobs AS held_jobs,
    held.what,
    COALESCE(day.done, 0::bigint) AS succeeded_24h,
    COALESCE(day.failed, 0::bigint) AS failed_24h,
    day.seconds AS avg_seconds_24h
   FROM builder b
     LEFT JOIN LATERAL ( SELECT count(*) AS jobs,
            string_agg((l.kind || ' '::text) || COALESCE(l.about, l.subject), ', '::text ORDER BY l.id) AS what
           FROM job_list l
          WHERE l.state = 'leased'::text AND l.builder = b.name) held ON true
     LEFT JOIN LATERAL ( SELECT count(*) FILTER (WHERE j.state = 'succeeded'::text) AS done,
            count(*) FILTER (WHERE j.state = 'failed'::text) AS failed,
            round(avg(EXTRACT(epoch FROM j.finished_at - j.started_at)), 1) AS seconds
           FROM job j
          WHERE j.tenant_id = b.tenant_id AND j.builder_id = b.id AND j.finished_at > (now() - '24:00:00'::interval)) day ON true;
grant on builder_load: select to cf_dashboards;

create view cache_list with (security_invoker=true) as
 SELECT toplevel,
    cardinality(path_ids) AS paths,
    nar_size,
    sha256,
    created_at
   FROM closure c;
grant on cache_list: select to cf_dashboards; select to cf_operators;

create view commit_list with (security_invoker=true) as
 SELECT c.id,
    f.name AS flake,
    c.rev,
    c."position",
    c.committed_at,
    c.subject,
    c.on_branch,
    c.state,
    c.error,
    c.discovered_at,
    c.evaluated_at
   FROM commit c
     JOIN flake f ON f.id = c.flake_id;
grant on commit_list: select to cf_controls; select to cf_dashboards; select to cf_operators;

create view derivation_list with (security_invoker=true) as
 SELECT id,
    name,
    system,
    drv_path,
    out_path,
    state,
    failure_class,
    error,
    attempts,
    nar_hash,
    closure_sha256,
    scan_state,
    built_at,
    scanned_at,
    created_at
   FROM derivation d;
grant on derivation_list: select to cf_dashboards; select to cf_operators;

create view derivation_status with (security_invoker=true) as
 SELECT e.id AS evaluation_id,
    e.commit_id,
    e.configuration_id,
    cfg.name AS configuration,
    e.derivation_id,
    d.drv_path,
    d.attempts,
    e.evaluated_at,
    e.duration_ms,
    d.created_at AS derivation_at,
    d.built_at,
        CASE
            WHEN e.state = 'error'::text THEN e.error
            WHEN d.state = 'failed'::text THEN d.error
            ELSE NULL::text
        END AS error,
    st.id AS status_id,
    st.name AS status_name,
    st.description AS status_description,
    st.is_terminal,
    st.is_success,
    st.display_order
   FROM evaluation e
     JOIN configuration cfg ON cfg.id = e.configuration_id
     LEFT JOIN derivation d ON d.id = e.derivation_id
     JOIN derivation_statuses st ON st.id =
        CASE
            WHEN e.state = 'error'::text THEN 6
            ELSE
            CASE d.state
                WHEN 'pending'::text THEN 7
                WHEN 'building'::text THEN 8
                WHEN 'built'::text THEN 10
                WHEN 'cached'::text THEN 14
                WHEN 'failed'::text THEN 12
                ELSE NULL::integer
            END
        END;
grant on derivation_status: select to cf_dashboards;

create view derivation_statuses as
 SELECT id,
    name,
    description,
    is_terminal,
    is_success,
    display_order
   FROM ( VALUES (1,'pending'::text,'Known, not looked at yet'::text,false,false,10), (2,'queued'::text,'Waits for a place'::text,false,false,20), (3,'dry-run-pending'::text,'Waits for its evaluation'::text,false,false,30), (4,'dry-run-inprogress'::text,'Is being evaluated'::text,false,false,40), (5,'dry-run-complete'::text,'Evaluated'::text,false,true,50), (6,'dry-run-failed'::text,'Its evaluation failed'::text,true,false,51), (7,'build-pending'::text,'Waits for its build'::text,false,false,60), (8,'build-inprogress'::text,'Is being built'::text,false,false,70), (9,'in-progress'::text,'Under way'::text,false,false,75), (10,'build-complete'::text,'Built'::text,true,true,80), (11,'complete'::text,'Done'::text,true,true,90), (12,'build-failed'::text,'Its build failed'::text,true,false,81), (13,'failed'::text,'Failed'::text,true,false,91), (14,'cache-pushed'::text,'Built, and in the cache'::text,true,true,100)) s(id, name, description, is_terminal, is_success, display_order);
grant on derivation_statuses: select to cf_dashboards;

create view enroll_token_list with (security_invoker=true) as
 SELECT t.id,
    t.hostname_pattern AS hostname,
    e.name AS environment,
    f.name AS flake,
        CASE
            WHEN t.used_at IS NOT NULL THEN 'used'::text
            WHEN t.revoked_at IS NOT NULL THEN 'revoked'::text
            WHEN t.expires_at <= now() THEN 'expired'::text
            ELSE 'open'::text
        END AS state,
    t.created_by,
    t.created_at,
    t.expires_at,
    t.used_at,
    s.hostname AS used_by,
    t.revoked_at
   FROM enroll_token t
     LEFT JOIN environment e ON e.id = t.environment_id
     LEFT JOIN flake f ON f.id = t.flake_id
     LEFT JOIN system s ON s.id = t.used_by_system_id;
grant on enroll_token_list: select to cf_operators;

create view environment_list with (security_invoker=true) as
 SELECT id,
    name,
    description,
    risk_profile,
    compliance_level,
    active,
    ( SELECT count(*) AS count
           FROM system s
          WHERE s.environment_id = e.id AND s.active) AS systems
   FROM environment e;
grant on environment_list: select to cf_dashboards; select to cf_operators;

create view evaluation_list with (security_invoker=true) as
 SELECT e.id,
    f.name AS flake,
    c.rev,
    c."position",
    cfg.name AS configuration,
    e.commit_id,
    e.configuration_id,
    e.state,
    e.error_class,
    e.error,
    d.drv_path,
    d.out_path,
    d.state AS build_state,
    d.error AS build_error,
    d.scan_state,
    e.agent_assertion,
    e.evaluator,
    e.duration_ms,
    e.evaluated_at
   FROM evaluation e
     JOIN commit c ON c.id = e.commit_id
     JOIN flake f ON f.id = c.flake_id
     JOIN configuration cfg ON cfg.id = e.configuration_id
     LEFT JOIN derivation d ON d.id = e.derivation_id;
grant on evaluation_list: select to cf_dashboards; select to cf_operators;

create view event_list with (security_invoker=true) as
 SELECT id,
    type,
    created_at,
    convert_from(body, 'UTF8'::name)::jsonb AS body,
    encode(leaf_hash, 'hex'::text) AS leaf_hash
   FROM audit_event e;
grant on event_list: select to cf_operators;

create view finding_list with (security_invoker=true) as
 SELECT fnd.id,
    s.hostname,
    s.id AS system_id,
    env.name AS environment,
    fl.name AS flake,
    fnd.cve_id AS cve,
    fnd.package,
    fnd.version,
    cve.cvss3::double precision AS cvss3,
        CASE
            WHEN cve.cvss3 IS NULL THEN 'unknown'::text
            WHEN cve.cvss3 >= 9::numeric THEN 'critical'::text
            WHEN cve.cvss3 >= 7::numeric THEN 'high'::text
            WHEN cve.cvss3 >= 4::numeric THEN 'medium'::text
            WHEN cve.cvss3 > 0::numeric THEN 'low'::text
            ELSE 'unknown'::text
        END AS severity,
    fnd.whitelisted,
    fnd.derivation,
    fnd.out_path,
    newest.scanner,
    newest.scanned_at
   FROM system s
     JOIN system_current cur ON cur.system_id = s.id
     JOIN LATERAL ( SELECT sc.id,
            sc.scanner,
            sc.scanned_at
           FROM scan sc
          WHERE sc.tenant_id = s.tenant_id AND sc.out_path = cur.current_path AND sc.outcome = 'scanned'::text
          ORDER BY sc.scanned_at DESC
         LIMIT 1) newest ON true
     JOIN finding fnd ON fnd.tenant_id = s.tenant_id AND fnd.out_path = cur.current_path AND fnd.scan_id = newest.id
     JOIN cve ON cve.tenant_id = fnd.tenant_id AND cve.id = fnd.cve_id
     LEFT JOIN environment env ON env.id = s.environment_id
     LEFT JOIN flake fl ON fl.id = s.flake_id
  WHERE s.active;
grant on finding_list: select to cf_dashboards; select to cf_operators;

create view flake_list with (security_invoker=true) as
 SELECT f.id,
    f.name,
    f.repository_url AS repo_url,
    f.source ->> 'kind'::text AS source,
    f.branch,
    f.auto_poll,
    f.poll_interval_s,
    f.initial_commit_depth,
    f.next_poll_at,
    f.resolved_at,
    f.last_error,
    f.active,
    f.created_at,
    head.rev AS head_rev,
    head.committed_at AS head_at,
    head.state AS head_state,
    ( SELECT count(*) AS count
           FROM system s
          WHERE s.flake_id = f.id AND s.active) AS systems
   FROM flake f
     LEFT JOIN LATERAL ( SELECT c.rev,
            c.committed_at,
            c.state
           FROM commit c
          WHERE c.tenant_id = f.tenant_id AND c.flake_id = f.id AND c.on_branch
          ORDER BY c."position" DESC
         LIMIT 1) head ON true;
grant on flake_list: select to cf_dashboards; select to cf_operators;

create view fleet_trend with (security_invoker=true) as
 SELECT tenant_id,
    day,
    systems,
    up_to_date,
    behind,
    no_evaluation,
    offline,
    never_seen,
    reporting,
    tpm,
    secure_boot,
    fips,
    selinux,
    agent_versions,
    outdated_agents,
    new_commits,
    evaluated_commits,
    deployed_commits,
    updated_systems,
    seconds_to_deploy,
    recorded_at,
    round(100.0 * up_to_date::numeric / NULLIF(systems, 0)::numeric, 1) AS up_to_date_percent,
    round(100.0 * tpm::numeric / NULLIF(reporting, 0)::numeric, 1) AS tpm_percent,
    round(100.0 * secure_boot::numeric / NULLIF(reporting, 0)::numeric, 1) AS secure_boot_percent,
    round(100.0 * fips::numeric / NULLIF(reporting, 0)::numeric, 1) AS fips_percent,
    round(100.0 * selinux::numeric / NULLIF(reporting, 0)::numeric, 1) AS selinux_percent,
    round(100.0 * updated_systems::numeric / NULLIF(systems, 0)::numeric, 1) AS updated_percent
   FROM fleet_day d;
grant on fleet_trend: select to cf_dashboards;

create view hook_list with (security_invoker=true) as
 SELECT h.id,
    f.name AS flake,
    h.provider,
    h.active,
    '/v1/hooks/'::text || h.id AS path,
    h.previous_secret_sealed IS NOT NULL AS has_previous_secret,
    h.created_at
   FROM hook h
     JOIN flake f ON f.id = h.flake_id;
grant on hook_list: select to cf_operators;

create view host_control_facts with (security_invoker=true) as
 SELECT s.hostname,
    env.name AS environment,
    newest.collected_at,
    EXTRACT(epoch FROM now() - newest.collected_at)::bigint AS age_seconds,
    newest.current_path = cur.current_path AS about_running
   FROM system s
     LEFT JOIN environment env ON env.id = s.environment_id
     LEFT JOIN system_current cur ON cur.system_id = s.id
     LEFT JOIN LATERAL ( SELECT m.collected_at,
            m.current_path
           FROM control_facts m
          WHERE m.system_id = s.id
          ORDER BY m.collected_at DESC
         LIMIT 1) newest ON true
  WHERE s.active;
grant on host_control_facts: select to cf_dashboards;

create view host_detail with (security_invoker=true) as
 SELECT d.hostname,
    d.environment,
    d.flake,
    d.configuration,
    d.policy,
    d.verdict,
    d.commits_behind,
    d.seen_at,
    system_health(d.seen_at, now()) AS health,
    d.current_path,
    d.desired_path,
    d.booted_path,
    d.profile_path,
    d.running_rev,
    d.desired_rev,
    d.generation,
    d.reboot_needed,
    d.not_persisted,
    cardinality(d.failed_units) AS failed_unit_count,
    array_to_string(d.failed_units, ', '::text) AS failed_units,
    d.build_state,
    COALESCE(d.evaluation_error, d.build_error) AS error,
    d.agent_version,
    d.nixos_version,
    d.kernel,
    d.assurance,
    d.running_scan_state,
    (st.facts -> 'fingerprint'::text) ->> 'primary_ip_address'::text AS ip_address,
    (st.facts -> 'fingerprint'::text) ->> 'cpu_brand'::text AS cpu,
    ((st.facts -> 'fingerprint'::text) ->> 'memory_bytes'::text)::bigint AS memory_bytes,
    ((st.facts -> 'fingerprint'::text) ->> 'tpm_present'::text)::boolean AS tpm,
    ((st.facts -> 'fingerprint'::text) ->> 'secure_boot_enabled'::text)::boolean AS secure_boot,
    ((st.facts -> 'fingerprint'::text) ->> 'fips_mode'::text)::boolean AS fips
   FROM system_drift d
     LEFT JOIN system_current cur ON cur.system_id = d.system_id
     LEFT JOIN system_state st ON st.id = cur.state_id
  WHERE d.active;
grant on host_detail: select to cf_dashboards;

create view host_presence with (security_invoker=true) as
 SELECT s.hostname,
    h.day,
    h.beats,
    h.first_at,
    h.last_at
   FROM heartbeat h
     JOIN system s ON s.id = h.system_id
  WHERE s.active;
grant on host_presence: select to cf_dashboards;

create view host_rule_state with (security_invoker=true) as
 SELECT s.hostname,
    env.name AS environment,
    rule.id AS rule_id,
    states.state
   FROM system s
     JOIN system_current cur ON cur.system_id = s.id
     LEFT JOIN environment env ON env.id = s.environment_id
     JOIN LATERAL ( SELECT e.rule_states
           FROM derivation d
             JOIN evaluation e ON e.derivation_id = d.id
          WHERE d.tenant_id = s.tenant_id AND d.out_path = cur.current_path AND e.rule_states IS NOT NULL
          ORDER BY e.evaluated_at, e.id
         LIMIT 1) report ON true
     CROSS JOIN LATERAL jsonb_each(report.rule_states) states(state, rules)
     CROSS JOIN LATERAL jsonb_array_elements_text(states.rules) rule(id)
  WHERE s.active;
grant on host_rule_state: select to cf_dashboards;

create view host_state_history with (security_invoker=true) as
 SELECT s.hostname,
    st.received_at,
    st.collected_at,
    st.change_reason,
    st.current_path,
    st.assurance,
    "left"(c.rev, 8) AS commit
   FROM system s
     JOIN system_state st ON st.system_id = s.id
     LEFT JOIN configuration_path p ON p.configuration_id = s.configuration_id AND p.out_path = st.current_path
     LEFT JOIN commit c ON c.flake_id = s.flake_id AND c."position" = p.last_position
  WHERE s.active;
grant on host_state_history: select to cf_dashboards;

create view job_list with (security_invoker=true) as
 SELECT j.id,
    j.kind,
    j.subject,
    COALESCE(f.name, (cf.name || '@'::text) || "left"(c.rev, 12), d.name) AS about,
    j.state,
    j.attempt,
    j.fence,
    b.name AS builder,
    j.lease_until,
    j.priority,
    j.not_before,
    j.progress,
    j.failure_class,
    j.failure_message,
    j.created_at,
    j.hinted_at,
    j.started_at,
    j.finished_at
   FROM job j
     LEFT JOIN builder b ON b.id = j.builder_id
     LEFT JOIN flake f ON j.kind = 'resolve'::text AND f.id = j.subject
     LEFT JOIN commit c ON j.kind = 'evaluate'::text AND c.id = j.subject
     LEFT JOIN flake cf ON cf.id = c.flake_id
     LEFT JOIN derivation d ON (j.kind = ANY (ARRAY['build'::text, 'scan'::text])) AND d.id = j.subject;
grant on job_list: select to cf_dashboards; select to cf_operators;

create view job_outcome with (security_invoker=true) as
 SELECT j.id,
    j.kind,
    j.state,
    j.failure_class,
    j.failure_message,
    b.name AS builder,
    j.attempt,
    j.created_at,
    j.started_at,
    j.finished_at,
    EXTRACT(epoch FROM j.started_at - j.created_at) AS waited_seconds,
    EXTRACT(epoch FROM j.finished_at - j.started_at) AS took_seconds
   FROM job j
     LEFT JOIN builder b ON b.id = j.builder_id
  WHERE j.finished_at IS NOT NULL;
grant on job_outcome: select to cf_dashboards;

create view state_list with (security_invoker=true) as
 SELECT id,
    system_id,
    report_id,
    encode(digest, 'hex'::text) AS digest,
    change_reason,
    current_path,
    booted_path,
    profile_path,
    facts,
    assurance,
    encode(evidence_sha256, 'hex'::text) AS evidence_sha256,
    collected_at,
    received_at
   FROM system_state t;
grant on state_list: select to cf_operators;

create view statement_waiting with (security_invoker=true) as
 SELECT s.hostname,
    e.rule_id,
    e.source,
    e.holds,
    e.author,
    e.collected_at,
    e.expires_at
   FROM control_evidence e
     JOIN system s ON s.id = e.system_id
  WHERE s.active AND e.expires_at > now() AND NOT (EXISTS ( SELECT
           FROM control_evidence_decision d
          WHERE d.evidence_id = e.id));
grant on statement_waiting: select to cf_dashboards;

create view system_drift with (security_invoker=true) as
 SELECT s.id AS system_id,
    s.tenant_id,
    s.hostname,
    s.active,
    s.policy,
    s.desired_target,
    s.created_at,
    env.name AS environment,
    s.flake_id,
    f.name AS flake,
    s.configuration_id,
    cfg.name AS configuration,
    cur.seen_at,
    cur.heartbeat_at,
    cur.state_received_at,
    cur.collected_at,
    cur.generation,
    cur.boot_id,
    cur.revision,
    cur.failed_units,
    cur.agent_version,
    cur.nixos_version,
    cur.kernel,
    cur.assurance,
    desired.path AS desired_path,
    cur.profile_path,
    cur.current_path,
    cur.booted_path,
    desired."position" AS desired_position,
    desired_commit.rev AS desired_rev,
    desired_commit.committed_at AS desired_at,
    running.last_position AS running_position,
    running_commit.rev AS running_rev,
    running_commit.committed_at AS running_at,
        CASE
            WHEN desired."position" <= running.last_position THEN 0::bigint
            WHEN desired."position" > running.last_position THEN ( SELECT count(*) AS count
               FROM commit c
              WHERE c.flake_id = s.flake_id AND c.on_branch AND c."position" > running.last_position AND c."position" <= desired."position")
            ELSE NULL::bigint
        END AS commits_behind,
    cur.booted_path IS NOT NULL AND cur.booted_path <> cur.current_path AS reboot_needed,
    cur.profile_path IS NOT NULL AND cur.profile_path <> cur.current_path AS not_persisted,
    pinned.yes AS pinned,
    newest.evaluated,
    newest.failed AS latest_failed,
    newest.error AS evaluation_error,
    newest.rev AS latest_rev,
    newest."position" AS latest_position,
    head.rev AS head_rev,
    head.state AS head_state,
    drv.id AS desired_derivation_id,
    drv.state AS build_state,
        CASE
            WHEN drv.state = 'failed'::text THEN drv.error
            ELSE NULL::text
        END AS build_error,
    COALESCE(drv.scan_state, 'unscanned'::text) AS desired_scan_state,
    COALESCE(running_drv.scan_state, 'unscanned'::text) AS running_scan_state,
    elsewhere.flake AS attributed_flake,
    elsewhere.configuration AS attributed_configuration,
    drift_verdict(cur.system_id IS NOT NULL, s.configuration_id IS NOT NULL, pinned.yes, newest.evaluated, newest.failed, desired.path IS NOT NULL, COALESCE(cur.current_path = desired.path, false), drv.state, desired."position", running.last_position) AS verdict
   FROM system s
     CROSS JOIN LATERAL ( SELECT s.policy = 'pinned'::text AND s.desired_target IS NOT NULL AS yes) pinned
     LEFT JOIN environment env ON env.id = s.environment_id
     LEFT JOIN flake f ON f.id = s.flake_id
     LEFT JOIN configuration cfg ON cfg.id = s.configuration_id
     LEFT JOIN system_current cur ON cur.system_id = s.id
     LEFT JOIN evaluation latest ON latest.id = cfg.latest_evaluation_id
     LEFT JOIN commit latest_commit ON latest_commit.id = latest.commit_id
     LEFT JOIN LATERAL ( SELECT c.rev,
            c."position",
            c.state,
            c.error
           FROM commit c
          WHERE c.tenant_id = s.tenant_id AND c.flake_id = s.flake_id AND c.on_branch
          ORDER BY c."position" DESC
         LIMIT 1) head ON true
     CROSS JOIN LATERAL ( SELECT COALESCE(head.state = 'failed'::text AND head."position" > COALESCE(cfg.latest_position, 0::bigint), false) AS whole) fails
     CROSS JOIN LATERAL ( SELECT cfg.latest_evaluation_id IS NOT NULL OR fails.whole AS evaluated,
            fails.whole OR COALESCE(latest.state = 'error'::text, false) AS failed,
                CASE
                    WHEN fails.whole THEN head.error
                    WHEN latest.state = 'error'::text THEN latest.error
                    ELSE NULL::text
                END AS error,
                CASE
                    WHEN fails.whole THEN head.rev
                    ELSE latest_commit.rev
                END AS rev,
                CASE
                    WHEN fails.whole THEN head."position"
                    ELSE cfg.latest_position
                END AS "position") newest
     LEFT JOIN evaluation good ON good.id = cfg.desired_evaluation_id
     LEFT JOIN derivation good_drv ON good_drv.id = good.derivation_id
     LEFT JOIN configuration_path pinned_path ON pinned.yes AND pinned_path.configuration_id = s.configuration_id AND pinned_path.out_path = s.desired_target
     CROSS JOIN LATERAL ( SELECT
                CASE
                    WHEN pinned.yes THEN s.desired_target
                    ELSE good_drv.out_path
                END AS path,
                CASE
                    WHEN pinned.yes THEN pinned_path.last_position
                    ELSE cfg.desired_position
                END AS "position") desired
     LEFT JOIN LATERAL ( SELECT d.id,
            d.state,
            d.error,
            d.scan_state
           FROM derivation d
          WHERE pinned.yes AND d.tenant_id = s.tenant_id AND d.out_path = s.desired_target
          ORDER BY d.created_at DESC
         LIMIT 1) pinned_drv ON true
     CROSS JOIN LATERAL ( SELECT
                CASE
                    WHEN pinned.yes THEN pinned_drv.id
                    ELSE good_drv.id
                END AS id,
                CASE
                    WHEN pinned.yes THEN pinned_drv.state
                    ELSE good_drv.state
                END AS state,
                CASE
                    WHEN pinned.yes THEN pinned_drv.error
                    ELSE good_drv.error
                END AS error,
                CASE
                    WHEN pinned.yes THEN pinned_drv.scan_state
                    ELSE good_drv.scan_state
                END AS scan_state) drv
     LEFT JOIN configuration_path running ON running.configuration_id = s.configuration_id AND running.out_path = cur.current_path
     LEFT JOIN commit desired_commit ON desired_commit.flake_id = s.flake_id AND desired_commit."position" = desired."position"
     LEFT JOIN commit running_commit ON running_commit.flake_id = s.flake_id AND running_commit."position" = running.last_position
     LEFT JOIN LATERAL ( SELECT d.scan_state
           FROM derivation d
          WHERE d.tenant_id = s.tenant_id AND d.out_path = cur.current_path
          ORDER BY d.scanned_at DESC NULLS LAST
         LIMIT 1) running_drv ON true
     LEFT JOIN LATERAL ( SELECT of.name AS flake,
            oc.name AS configuration
           FROM configuration_path p
             JOIN configuration oc ON oc.id = p.configuration_id
             JOIN flake of ON of.id = oc.flake_id
          WHERE running.last_position IS NULL AND p.tenant_id = s.tenant_id AND p.out_path = cur.current_path
          ORDER BY of.name, oc.name
         LIMIT 1) elsewhere ON true;
grant on system_drift: select to cf_dashboards; select to cf_operators;

create view system_verdict with (security_invoker=true) as
 SELECT s.id AS system_id,
    s.tenant_id,
    s.hostname,
    s.active,
    env.name AS environment,
    f.name AS flake,
    cur.seen_at,
    drift_verdict(cur.system_id IS NOT NULL, s.configuration_id IS NOT NULL, pinned.yes, cfg.latest_position IS NOT NULL OR head.failed_at > 0, GREATEST(cfg.latest_position, head.failed_at) > COALESCE(cfg.desired_position, 0::bigint), pinned.yes OR cfg.desired_position IS NOT NULL,
        CASE
            WHEN pinned.yes THEN COALESCE(cur.current_path = s.desired_target, false)
            ELSE false
        END,
        CASE
            WHEN pinned.yes THEN ( SELECT d.state
               FROM derivation d
              WHERE d.tenant_id = s.tenant_id AND d.out_path = s.desired_target
              ORDER BY d.created_at DESC
             LIMIT 1)
            ELSE ( SELECT d.state
               FROM evaluation e
                 JOIN derivation d ON d.id = e.derivation_id
              WHERE e.id = cfg.desired_evaluation_id)
        END,
        CASE
            WHEN pinned.yes THEN pinned_path.last_position
            ELSE cfg.desired_position
        END, running.last_position) AS verdict
   FROM system s
     CROSS JOIN LATERAL ( SELECT s.policy = 'pinned'::text AND s.desired_target IS NOT NULL AS yes) pinned
     LEFT JOIN environment env ON env.id = s.environment_id
     LEFT JOIN flake f ON f.id = s.flake_id
     LEFT JOIN configuration cfg ON cfg.id = s.configuration_id
     LEFT JOIN system_current cur ON cur.system_id = s.id
     LEFT JOIN LATERAL ( SELECT p.last_position
           FROM configuration_path p
          WHERE pinned.yes AND p.configuration_id = s.configuration_id AND p.out_path = s.desired_target
         LIMIT 1) pinned_path ON true
     LEFT JOIN configuration_path running ON running.configuration_id = s.configuration_id AND running.out_path = cur.current_path
     LEFT JOIN LATERAL ( SELECT
                CASE
                    WHEN newest.state = 'failed'::text THEN newest."position"
                    ELSE NULL::bigint
                END AS failed_at
           FROM ( SELECT c.state,
                    c."position"
                   FROM commit c
                  WHERE c.tenant_id = s.tenant_id AND c.flake_id = s.flake_id AND c.on_branch
                  ORDER BY c."position" DESC
                 LIMIT 1) newest) head ON true;
grant on system_verdict: select to cf_dashboards; select to cf_operators;

create view view_buildable_derivations with (security_invoker=true) as
 SELECT d.id,
    d.name AS derivation_name,
    'nixos'::text AS derivation_type,
    d.drv_path AS derivation_path,
        CASE
            WHEN j.state = 'leased'::text THEN 8
            ELSE 7
        END AS status_id,
    d.id AS nixos_id,
    newest.at AS nixos_commit_ts,
    (j.state = 'leased'::text)::integer AS active_workers,
    row_number() OVER (ORDER BY (j.state = 'leased'::text) DESC, j.priority DESC, j.id) AS queue_position
   FROM job j
     JOIN derivation d ON d.id = j.subject
     LEFT JOIN LATERAL ( SELECT max(c.committed_at) AS at
           FROM evaluation e
             JOIN commit c ON c.id = e.commit_id
          WHERE e.derivation_id = d.id) newest ON true
  WHERE j.kind = 'build'::text AND (j.state = ANY (ARRAY['queued'::text, 'leased'::text]));
grant on view_buildable_derivations: select to cf_dashboards;

create view view_commit_build_status with (security_invoker=true) as
 WITH recent AS (
         SELECT c_1.id,
            c_1.tenant_id,
            c_1.flake_id,
            c_1.rev,
            c_1."position",
            c_1.committed_at,
            c_1.subject,
            c_1.on_branch,
            c_1.state,
            c_1.error,
            c_1.discovered_at,
            c_1.evaluated_at
           FROM commit c_1
          WHERE c_1.on_branch AND c_1.committed_at > (now() - '30 days'::interval)
        ), totals AS (
         SELECT o.commit_id,
            count(*) AS total,
            count(*) FILTER (WHERE o.is_success) AS good,
            count(*) FILTER (WHERE o.is_terminal AND NOT o.is_success) AS bad,
            count(*) FILTER (WHERE NOT o.is_terminal) AS open,
            round(avg(o.duration_ms) / 1000.0, 1) AS seconds,
            max(o.attempts) AS attempts,
            string_agg(DISTINCT o.status_name, ', '::text) AS statuses
           FROM recent c_1
             JOIN derivation_status o ON o.commit_id = c_1.id
          GROUP BY o.commit_id
        ), tries AS (
         SELECT c_1.id AS commit_id,
            max(j.attempt) AS most
           FROM recent c_1
             JOIN job j ON j.tenant_id = c_1.tenant_id AND j.subject = c_1.id AND j.kind = 'evaluate'::text
          GROUP BY c_1.id
        )
 SELECT c.id AS commit_id,
    f.name AS flake_name,
    f.repository_url AS repo_url,
    c.rev AS git_commit_hash,
    "left"(c.rev, 8) AS short_hash,
    c.committed_at AS commit_timestamp,
    COALESCE(tries.most, 0) AS commit_attempt_count,
    d.derivation_id,
    'nixos'::text AS derivation_type,
    d.configuration AS derivation_name,
    d.drv_path AS derivation_path,
    d.derivation_at AS derivation_scheduled_at,
    build.started_at AS derivation_started_at,
    d.built_at AS derivation_completed_at,
    COALESCE(d.attempts, 0) AS derivation_attempt_count,
    d.duration_ms AS evaluation_duration_ms,
    COALESCE(d.error, c.error) AS error_message,
    NULL::text AS pname,
    NULL::text AS version,
    d.status_name AS derivation_status,
    d.status_description AS derivation_status_description,
    d.is_terminal,
    d.is_success,
    COALESCE(t.total, 0::bigint) AS total_derivations,
    COALESCE(t.good, 0::bigint) AS successful_derivations,
    COALESCE(t.bad, 0::bigint) AS failed_derivations,
    COALESCE(t.open, 0::bigint) AS in_progress_derivations,
    COALESCE(t.total, 0::bigint) AS nixos_derivations,
    0::bigint AS package_derivations,
    t.seconds AS avg_evaluation_duration_seconds,
    t.attempts AS max_derivation_attempts,
    t.statuses AS all_statuses,
    word.status AS commit_build_status,
        CASE word.status
            WHEN 'no_builds'::text THEN 'Nothing is evaluated yet'::text
            WHEN 'building'::text THEN format('%s of %s are not done'::text, t.open, t.total)
            WHEN 'failed'::text THEN 'All failed'::text
            WHEN 'partial'::text THEN format('%s of %s failed'::text, t.bad, t.total)
            WHEN 'complete'::text THEN 'All are built'::text
            ELSE 'Its state is not known'::text
        END AS commit_build_description
   FROM recent c
     JOIN flake f ON f.id = c.flake_id
     LEFT JOIN totals t ON t.commit_id = c.id
     LEFT JOIN tries ON tries.commit_id = c.id
     LEFT JOIN derivation_status d ON d.commit_id = c.id
     LEFT JOIN LATERAL ( SELECT j.started_at
           FROM job j
          WHERE j.tenant_id = c.tenant_id AND j.subject = d.derivation_id AND j.kind = 'build'::text
          ORDER BY j.id DESC
         LIMIT 1) build ON true
     CROSS JOIN LATERAL ( SELECT
                CASE
                    WHEN t.total IS NULL AND c.state = 'failed'::text THEN 'failed'::text
                    WHEN t.total IS NULL THEN 'no_builds'::text
                    WHEN t.open > 0 THEN 'building'::text
                    WHEN t.bad = t.total THEN 'failed'::text
                    WHEN t.bad > 0 THEN 'partial'::text
                    WHEN t.good = t.total THEN 'complete'::text
                    ELSE 'unknown'::text
                END AS status) word;
grant on view_commit_build_status: select to cf_dashboards;

create view view_commit_deployment_timeline with (security_invoker=true) as
 SELECT f.id AS flake_id,
    f.name AS flake_name,
    c.id AS commit_id,
    c.rev AS git_commit_hash,
    "left"(c.rev, 8) AS short_hash,
    c.committed_at AS commit_timestamp,
    count(DISTINCT e.id) AS total_evaluations,
    count(DISTINCT e.id) FILTER (WHERE e.state = 'ok'::text) AS successful_evaluations,
    string_agg(DISTINCT e.state, ', '::text) AS evaluation_statuses,
    string_agg(DISTINCT cfg.name, ', '::text) AS evaluated_targets,
    min(arrived.at) AS first_deployment,
    max(arrived.at) AS last_deployment,
    count(DISTINCT s.id) FILTER (WHERE arrived.at IS NOT NULL) AS total_systems_deployed,
    count(DISTINCT s.id) FILTER (WHERE cur.current_path = d.out_path) AS currently_deployed_systems,
    string_agg(DISTINCT s.hostname, ', '::text) FILTER (WHERE arrived.at IS NOT NULL) AS deployed_systems,
    string_agg(DISTINCT s.hostname, ', '::text) FILTER (WHERE cur.current_path = d.out_path) AS currently_deployed_systems_list
   FROM commit c
     JOIN flake f ON f.id = c.flake_id
     LEFT JOIN evaluation e ON e.commit_id = c.id
     LEFT JOIN configuration cfg ON cfg.id = e.configuration_id
     LEFT JOIN derivation d ON d.id = e.derivation_id
     LEFT JOIN system s ON s.configuration_id = e.configuration_id AND s.active
     LEFT JOIN system_current cur ON cur.system_id = s.id
     LEFT JOIN LATERAL ( SELECT GREATEST(min(st.received_at), e.evaluated_at) AS at
           FROM system_state st
          WHERE st.tenant_id = s.tenant_id AND st.current_path = d.out_path AND st.system_id = s.id
         HAVING min(st.received_at) IS NOT NULL) arrived ON true
  WHERE c.on_branch AND c.committed_at > (now() - '30 days'::interval)
  GROUP BY f.id, c.id;
grant on view_commit_deployment_timeline: select to cf_dashboards;

create view view_commit_nixos_table with (security_invoker=true) as
 SELECT c.id AS commit_id,
    c.rev AS git_commit_hash,
    "left"(c.rev, 8) AS short_hash,
    c.committed_at AS commit_timestamp,
    f.name AS flake_name,
    d.configuration AS derivation_name,
    d.status_name AS derivation_status,
    d.display_order AS status_order,
    count(*) OVER per AS total,
    count(*) FILTER (WHERE d.is_success) OVER per AS successful,
    count(*) FILTER (WHERE d.is_terminal AND NOT d.is_success) OVER per AS failed,
    count(*) FILTER (WHERE NOT d.is_terminal) OVER per AS in_progress,
    round(100.0 * count(*) FILTER (WHERE d.is_terminal) OVER per::numeric / count(*) OVER per::numeric, 1) AS progress_pct
   FROM commit c
     JOIN flake f ON f.id = c.flake_id
     JOIN derivation_status d ON d.commit_id = c.id
  WHERE c.on_branch AND c.committed_at > (now() - '30 days'::interval)
  WINDOW per AS (PARTITION BY c.id);
grant on view_commit_nixos_table: select to cf_dashboards;

create view view_compliance_trend_7d with (security_invoker=true) as
 SELECT day AS snapshot_date,
    systems AS total_systems,
    up_to_date AS systems_up_to_date,
    behind AS systems_behind,
    up_to_date_percent AS compliance_percentage,
    up_to_date_percent - lag(up_to_date_percent) OVER (ORDER BY day) AS daily_change
   FROM fleet_trend t
  WHERE day > ((now() AT TIME ZONE 'UTC'::text)::date - 7);
grant on view_compliance_trend_7d: select to cf_dashboards;

create view view_config_timeline with (security_invoker=true) as
 SELECT first_deployment AS "time",
    format('%s deployed (%s)'::text, total_systems_deployed, short_hash) AS "Config",
    flake_name
   FROM view_commit_deployment_timeline t
  WHERE first_deployment IS NOT NULL;
grant on view_config_timeline: select to cf_dashboards;

create view view_cve_trends_7d with (security_invoker=true) as
 SELECT (sc.scanned_at AT TIME ZONE 'UTC'::text)::date AS scan_date,
    count(DISTINCT sc.out_path) AS targets_scanned,
    round(avg(n.total), 1) AS avg_vulnerabilities,
    round(avg(n.critical), 1) AS avg_critical,
    round(avg(n.high), 1) AS avg_high,
    sum(n.total) AS total_vulnerabilities,
    sum(n.critical) AS total_critical,
    sum(n.high) AS total_high
   FROM scan sc
     CROSS JOIN LATERAL ( SELECT count(*) AS total,
            count(*) FILTER (WHERE cve.cvss3 >= 9::numeric) AS critical,
            count(*) FILTER (WHERE cve.cvss3 >= 7::numeric AND cve.cvss3 < 9::numeric) AS high
           FROM finding f
             JOIN cve ON cve.tenant_id = f.tenant_id AND cve.id = f.cve_id
          WHERE f.tenant_id = sc.tenant_id AND f.out_path = sc.out_path AND f.scan_id = sc.id AND NOT f.whitelisted) n
  WHERE sc.outcome = 'scanned'::text AND sc.scanned_at > (now() - '7 days'::interval)
  GROUP BY ((sc.scanned_at AT TIME ZONE 'UTC'::text)::date);
grant on view_cve_trends_7d: select to cf_dashboards;

create view view_derivation_status_breakdown with (security_invoker=true) as
 SELECT st.name AS status_name,
    st.description AS status_description,
    st.is_terminal,
    st.is_success,
    count(*) AS total_count,
    count(*) AS nixos_count,
    0::bigint AS package_count,
    round(avg(d.attempts), 1) AS avg_attempts,
    round(avg(EXTRACT(epoch FROM d.built_at - d.created_at)), 1) AS avg_duration_seconds,
    min(d.created_at) AS oldest_scheduled,
    max(d.created_at) AS newest_scheduled,
    count(*) FILTER (WHERE d.created_at > (now() - '24:00:00'::interval)) AS count_last_24h,
    round(100.0 * count(*)::numeric / sum(count(*)) OVER (), 1) AS percentage_of_total
   FROM derivation d
     JOIN derivation_statuses st ON st.id =
        CASE d.state
            WHEN 'pending'::text THEN 7
            WHEN 'building'::text THEN 8
            WHEN 'built'::text THEN 10
            WHEN 'cached'::text THEN 14
            WHEN 'failed'::text THEN 12
            ELSE NULL::integer
        END
  GROUP BY st.id, st.name, st.description, st.is_terminal, st.is_success;
grant on view_derivation_status_breakdown: select to cf_dashboards;

create view view_flake_recent_commits with (security_invoker=true) as
 SELECT f.name AS flake,
    "left"(c.rev, 8) AS commit,
    c.committed_at AS commit_timestamp,
    COALESCE(tries.most, 0) AS attempt_count,
        CASE
            WHEN c.state = 'failed'::text THEN 'failed/stuck'::text
            WHEN COALESCE(tries.most, 0) > 1 THEN 'retries'::text
            ELSE 'ok'::text
        END AS attempt_status,
    floor(EXTRACT(epoch FROM now() - c.committed_at) / 60::numeric)::integer AS minutes_since_commit,
    now() - c.committed_at AS age_interval
   FROM flake f
     CROSS JOIN LATERAL ( SELECT c_1.id,
            c_1.tenant_id,
            c_1.flake_id,
            c_1.rev,
            c_1."position",
            c_1.committed_at,
            c_1.subject,
            c_1.on_branch,
            c_1.state,
            c_1.error,
            c_1.discovered_at,
            c_1.evaluated_at
           FROM commit c_1
          WHERE c_1.tenant_id = f.tenant_id AND c_1.flake_id = f.id AND c_1.on_branch
          ORDER BY c_1."position" DESC
         LIMIT 3) c
     LEFT JOIN LATERAL ( SELECT max(j.attempt) AS most
           FROM job j
          WHERE j.tenant_id = c.tenant_id AND j.subject = c.id AND j.kind = 'evaluate'::text) tries ON true
  WHERE f.active;
grant on view_flake_recent_commits: select to cf_dashboards;

create view view_security_trend_30d with (security_invoker=true) as
 SELECT day AS snapshot_date,
    systems AS total_systems,
    tpm_percent AS tpm_percentage,
    secure_boot_percent AS secure_boot_percentage,
    fips_percent AS fips_percentage,
    selinux_percent AS selinux_percentage,
    agent_versions AS unique_agent_versions,
    outdated_agents AS outdated_agent_count
   FROM fleet_trend t
  WHERE day > ((now() AT TIME ZONE 'UTC'::text)::date - 30);
grant on view_security_trend_30d: select to cf_dashboards;

create view view_system_deployment_status with (security_invoker=true) as
 SELECT d.hostname,
    d.current_path AS current_store_path,
    d.state_received_at AS deployment_time,
    d.running_rev AS current_commit_hash,
    d.running_at AS current_commit_timestamp,
    d.desired_rev AS latest_commit_hash,
    d.desired_at AS latest_commit_timestamp,
    d.commits_behind,
    d.flake AS flake_name,
    word.status AS deployment_status,
        CASE word.status
            WHEN 'no_deployment'::text THEN 'the host has never reported'::text
            WHEN 'unknown'::text THEN 'no commit of its flake is known to yield what it runs'::text
            WHEN 'up_to_date'::text THEN 'runs the newest evaluated commit'::text
            WHEN 'behind'::text THEN format('%s commits behind'::text, d.commits_behind)
            ELSE 'runs a newer commit than the desired one'::text
        END AS status_description
   FROM system_drift d
     CROSS JOIN LATERAL ( SELECT
                CASE
                    WHEN d.current_path IS NULL THEN 'no_deployment'::text
                    WHEN d.current_path = d.desired_path OR d.running_position = d.desired_position THEN 'up_to_date'::text
                    WHEN d.running_position IS NULL OR d.desired_position IS NULL THEN 'unknown'::text
                    WHEN d.running_position < d.desired_position THEN 'behind'::text
                    ELSE 'ahead'::text
                END AS status) word
  WHERE d.active;
grant on view_system_deployment_status: select to cf_dashboards; select to cf_operators;

create view view_system_heartbeat_status with (security_invoker=true) as
 SELECT s.hostname,
    initcap(system_health(c.seen_at, now())) AS heartbeat_status,
    c.seen_at AS most_recent_activity,
    c.heartbeat_at AS last_heartbeat,
    c.state_received_at AS last_state_change,
    floor(EXTRACT(epoch FROM now() - c.seen_at) / 60::numeric)::integer AS minutes_since_last_activity,
        CASE system_health(c.seen_at, now())
            WHEN 'healthy'::text THEN 'reported within 15 minutes'::text
            WHEN 'warning'::text THEN 'silent for 15 minutes to 1 hour'::text
            WHEN 'critical'::text THEN 'silent for 1 to 4 hours'::text
            ELSE 'silent for more than 4 hours'::text
        END AS status_description
   FROM system_current c
     JOIN system s ON s.id = c.system_id
  WHERE s.active;
grant on view_system_heartbeat_status: select to cf_dashboards; select to cf_operators;

create view view_velocity_trend_14d with (security_invoker=true) as
 SELECT day AS snapshot_date,
    new_commits AS new_commits_today,
    evaluated_commits AS commits_evaluated_today,
    deployed_commits AS commits_deployed_today,
    round((seconds_to_deploy / 3600::double precision)::numeric, 2) AS avg_eval_to_deploy_hours,
    updated_systems AS systems_updated_today,
    updated_percent AS deployment_rate_percentage
   FROM fleet_trend t
  WHERE day > ((now() AT TIME ZONE 'UTC'::text)::date - 14);
grant on view_velocity_trend_14d: select to cf_dashboards;

create view waiver_standing with (security_invoker=true) as
 SELECT name,
    state,
    cardinality(rules) AS rule_count,
    array_to_string(rules, ', '::text) AS rules,
        CASE scope ->> 'kind'::text
            WHEN 'fleet'::text THEN 'fleet'::text
            WHEN 'environment'::text THEN 'environment '::text || (scope ->> 'environment'::text)
            WHEN 'hosts'::text THEN ( SELECT string_agg(h.value, ', '::text) AS string_agg
               FROM jsonb_array_elements_text(w.scope -> 'hosts'::text) h(value))
            ELSE ((scope ->> 'flake'::text) || '#'::text) || (scope ->> 'configuration'::text)
        END AS scope,
    type,
    author,
    approver,
    expires_at,
    changed_at
   FROM waivers_at(now()) w(id, name, rules, scope, type, justification, compensating, residual_severity, claimed, source, owner, milestones, review_at, author, submitter, approver, state, step, expires_at, renews, created_at, changed_at, author_subject, submitter_subject, approver_subject);
grant on waiver_standing: select to cf_dashboards;

-- Functions

CREATE OR REPLACE FUNCTION public.can_claim(j job, builder text, kinds text[], wanted_attempt integer)
 RETURNS boolean
 LANGUAGE sql
 STABLE
AS $function$
  select j.tenant_id = cf_tenant() and j.state = 'queued' and j.kind = any (kinds) and j.not_before <= now()
    and (wanted_attempt is null or j.attempt = wanted_attempt)
    and (not j.payload ? 'system' or j.payload ->> 'system' in ('builtin', 'unknown')
         or exists (select from builder b where b.id = can_claim.builder and j.payload ->> 'system' = any (b.systems)))
$function$;

CREATE OR REPLACE FUNCTION public.canonical_json(value jsonb)
 RETURNS text
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
AS $function$
begin
  return case jsonb_typeof(value)
    when 'object' then '{' || coalesce((select string_agg(to_json(key)::text || ':' || canonical_json(v), ',' order by key collate "C")
                                       from jsonb_each(value) as e(key, v)), '') || '}'
    when 'array' then '[' || coalesce((select string_agg(canonical_json(v), ',' order by n)
                                      from jsonb_array_elements(value) with ordinality as a(v, n)), '') || ']'
    else value::text
  end;
end $function$;

CREATE OR REPLACE FUNCTION public.cf_lookup()
 RETURNS text
 LANGUAGE sql
 STABLE PARALLEL SAFE
AS $function$ select nullif(current_setting('cf.lookup', true), '') $function$;

CREATE OR REPLACE FUNCTION public.cf_tenant()
 RETURNS text
 LANGUAGE sql
 STABLE PARALLEL SAFE
AS $function$ select nullif(current_setting('cf.tenant', true), '') $function$;

CREATE OR REPLACE FUNCTION public.claim_job(builder text, kinds text[], wanted text, wanted_attempt integer, lease interval)
 RETURNS TABLE(job_id text, kind text, subject text, attempt integer, fence bigint, payload jsonb)
 LANGUAGE sql
AS $function$
  with named as (
    -- Waits for whoever holds the row: the relay does for a moment after it sent the very hint that is followed here.
    select j.id, j.attempt from job j
    where j.id = wanted and can_claim(j, claim_job.builder, kinds, wanted_attempt)
    for update
  ), best as (
    select j.id, j.attempt from job j
    where wanted is null and j.tenant_id = cf_tenant() and j.state = 'queued' and j.kind = any (kinds)
      and can_claim(j, claim_job.builder, kinds, wanted_attempt)
    order by j.priority desc, j.id
    limit 1
    for update skip locked
  ), candidate as (
    select * from named union all select * from best
  ), claimed as (
    update job j
    set state = 'leased', fence = nextval('job_fence'), builder_id = claim_job.builder, lease_until = now() + lease,
        started_at = now(), progress = null
    from candidate c
    where j.id = c.id and j.state = 'queued' and j.attempt = c.attempt
    returning j.id, j.kind, j.subject, j.attempt, j.fence, j.payload
  ), attempted as (
    insert into job_attempt (job_id, attempt, fence, tenant_id, builder_id, started_at, outcome)
    select c.id, c.attempt, c.fence, cf_tenant(), claim_job.builder, now(), 'running' from claimed c
  )
  select c.id, c.kind, c.subject, c.attempt, c.fence, c.payload from claimed c
$function$;

CREATE OR REPLACE FUNCTION public.closure_paths(toplevel text)
 RETURNS TABLE(id bigint, path text, nar_hash text, nar_size bigint, refs text[], published boolean)
 LANGUAGE sql
 STABLE
AS $function$
  with recursive walk (id) as (
    select s.id from store_path s where s.tenant_id = cf_tenant() and s.path = toplevel
    union
    select unnest(s.reference_ids) from walk w join store_path s on s.id = w.id
  )
  select s.id, s.path, s.nar_hash, s.nar_size,
         coalesce((select array_agg(r.path order by r.path collate "C") from store_path r where r.id = any (s.reference_ids)), '{}'),
         s.published_at is not null
  from walk w join store_path s on s.id = w.id
  order by s.path collate "C"
$function$;

CREATE OR REPLACE FUNCTION public.commit_paths(builder text, batch jsonb)
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
declare fresh integer;
begin
  -- One order for all, so that two builders with the same paths wait for each other instead of locking each other out.
  insert into store_path (tenant_id, path, nar_hash, nar_size, reference_ids, deriver, ca, url, compression, file_hash, file_size, signature, builder_id)
  select cf_tenant(), p ->> 'path', p ->> 'nar_hash', (p ->> 'nar_size')::bigint, '{}', p ->> 'deriver', p ->> 'ca', p ->> 'url',
         p ->> 'compression', p ->> 'file_hash', (p ->> 'file_size')::bigint, p ->> 'signature', builder
  from jsonb_array_elements(batch) p order by p ->> 'path'
  on conflict (tenant_id, path) do update
    set url = excluded.url, compression = excluded.compression, file_hash = excluded.file_hash, file_size = excluded.file_size,
        signature = excluded.signature, builder_id = excluded.builder_id
    where store_path.published_at is null and store_path.nar_hash = excluded.nar_hash;
  get diagnostics fresh = row_count;
  update store_path s
  set reference_ids = coalesce((
    select array_agg(r.id order by r.path) from store_path r
    where r.tenant_id = cf_tenant() and r.path in (select jsonb_array_elements_text(p -> 'references'))), '{}')
  from jsonb_array_elements(batch) p
  where s.tenant_id = cf_tenant() and s.path = p ->> 'path' and s.published_at is null;
  return fresh;
end $function$;

CREATE OR REPLACE FUNCTION public.commit_priority(committed_at timestamp with time zone, place bigint)
 RETURNS bigint
 LANGUAGE sql
 IMMUTABLE
AS $function$
  select floor(extract(epoch from committed_at))::bigint * 1000 + place % 1000
$function$;

CREATE OR REPLACE FUNCTION public.dashboards_tenant()
 RETURNS text
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'public'
AS $function$
  select d.tenant from dashboard_login d where d.login = session_user
$function$;

CREATE OR REPLACE FUNCTION public.draft_waivers(of_configuration text, report jsonb)
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
declare config record; drafted record; made integer := 0; waiver_id text; written_by text;
begin
  if jsonb_typeof(report -> 'rules') is distinct from 'object' then return 0; end if;
  select c.name, f.name as flake into strict config from configuration c join flake f on f.id = c.flake_id where c.id = of_configuration;
  written_by := 'configuration ' || config.flake || '#' || config.name;
  for drafted in
    with justified as (
      select r.key as rule, r.value -> 'waiver' as claim,
             coalesce(r.value #>> '{waiver,justification}',
                      (select string_agg(j, E'\n') from jsonb_array_elements_text(r.value -> 'justification') j), '') as reason
      from jsonb_each(report -> 'rules') r
      where r.value ->> 'state' = 'justified' and r.key ~ '^V-[0-9]{6}$'
    ), named as (
      select coalesce(case when j.claim ->> 'id' ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$' then j.claim ->> 'id' end,
                      'configuration-' || substr(encode(sha256(convert_to(of_configuration || E'\n' || j.reason, 'UTF8')), 'hex'), 1, 16)) as name, j.*
      from justified j where j.reason <> ''
    )
    select n.name, array_agg(n.rule order by n.rule) as rules, left(min(n.reason), 4000) as reason,
           (array_agg(n.claim order by n.rule))[1] as claim
    from named n group by n.name order by n.name
  loop
    insert into waiver (tenant_id, name, rules, scope, justification, claimed, source, author, expires_at)
    values (cf_tenant(), drafted.name, drafted.rules,
            jsonb_build_object('kind', 'configuration', 'flake', config.flake, 'configuration', config.name),
            drafted.reason,
            case when jsonb_typeof(drafted.claim) = 'object' then jsonb_build_object(
              'approvedBy', left(drafted.claim ->> 'approvedBy', 200), 'expires', left(drafted.claim ->> 'expires', 40)) end,
            'configuration', written_by, now() + interval '90 days')
    on conflict (tenant_id, name) do nothing
    returning id into waiver_id;
    if waiver_id is null then continue; end if;
    insert into waiver_transition (tenant_id, waiver_id, step, state, person, reason)
    values (cf_tenant(), waiver_id, 1, 'draft', written_by, 'a configuration leaves these rules out');
    perform record_event('waiver.drafted', jsonb_build_object('kind', 'system', 'name', written_by),
      jsonb_build_object('waiver', waiver_id, 'name', drafted.name, 'rules', to_jsonb(drafted.rules)));
    made := made + 1;
  end loop;
  return made;
end $function$;

CREATE OR REPLACE FUNCTION public.drift_verdict(seen boolean, tracked boolean, pinned boolean, evaluated boolean, latest_failed boolean, desired_known boolean, on_desired_path boolean, build_state text, desired_position bigint, running_position bigint)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
  select case
    when not seen then 'never_seen'
    when pinned and on_desired_path then 'up_to_date'
    when not tracked then 'untracked'
    when not evaluated then 'no_evaluation'
    when not desired_known then 'evaluation_failed'
    when running_position is null then 'unattributed'
    when latest_failed and not pinned then 'evaluation_failed'
    when on_desired_path or running_position = desired_position then 'up_to_date'
    when desired_position is null then 'no_evaluation'
    when running_position > desired_position then 'ahead'
    -- Named once, so that a subquery can stand for it and runs for hosts that are behind only.
    else case build_state when 'failed' then 'build_failed' when 'pending' then 'building' when 'building' then 'building'
         else 'behind' end
  end
$function$;

CREATE OR REPLACE FUNCTION public.enqueue_build(of_derivation text)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare d derivation; wanted_by record;
begin
  select * into strict d from derivation where id = of_derivation for update;
  if not (d.state = 'pending' or (d.state = 'failed' and d.failure_class in ('infra', 'oom', 'timeout', 'cancelled'))) then return; end if;
  select max(commit_priority(c.committed_at, c.position)) as newest,
         bool_or(exists (select from system s where s.configuration_id = e.configuration_id and s.active)) as followed
  into wanted_by
  from evaluation e join commit c on c.id = e.commit_id where e.derivation_id = d.id;
  update derivation set state = 'pending', failure_class = null, error = null where id = d.id and state = 'failed';
  perform enqueue_job('build', d.id, jsonb_build_object('drv_path', d.drv_path, 'system', d.system),
    coalesce(wanted_by.newest, 0) + case when wanted_by.followed then 1000000000000000 else 0 end);
end $function$;

CREATE OR REPLACE FUNCTION public.enqueue_job(kind text, subject text, payload jsonb, priority bigint)
 RETURNS TABLE(job_id text, fresh boolean)
 LANGUAGE sql
AS $function$
  with put as (
    insert into job (tenant_id, kind, subject, payload, priority)
    values (cf_tenant(), enqueue_job.kind, enqueue_job.subject, enqueue_job.payload, enqueue_job.priority)
    on conflict (tenant_id, kind, subject) where state in ('queued', 'leased') do update
      set priority = greatest(job.priority, excluded.priority),
          not_before = case when job.kind = 'resolve' then least(job.not_before, now()) else job.not_before end,
          payload = case when job.kind <> 'resolve' then job.payload
                         when job.state = 'leased' then job.payload || excluded.payload || '{"again": true}'
                         else job.payload || excluded.payload end
    returning id, job.kind, attempt, not_before, job.state, xmax = 0 as fresh
  ), hint as (
    insert into outbox (tenant_id, queue, body, not_before)
    select cf_tenant(), put.kind, job_hint(put.id, put.kind, put.attempt), put.not_before
    from put where put.fresh or (put.kind = 'resolve' and put.state = 'queued')
  )
  select put.id, put.fresh from put
$function$;

CREATE OR REPLACE FUNCTION public.expire_waivers(most integer)
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
declare over record; done integer := 0;
begin
  for over in
    select w.id, w.name, w.rules, w.step, w.expires_at from waivers_at(now()) w
    where w.state = 'expired' and exists (select from waiver_transition t where t.waiver_id = w.id and t.step = w.step and t.state = 'approved')
    order by w.expires_at, w.id limit most
  loop
    insert into waiver_transition (tenant_id, waiver_id, step, state, person, reason)
    values (cf_tenant(), over.id, over.step + 1, 'expired', 'the clock', 'its time is over')
    on conflict do nothing;
    if not found then continue; end if;
    perform record_event('waiver.expired', jsonb_build_object('kind', 'system', 'name', 'sweep'),
      jsonb_build_object('waiver', over.id, 'name', over.name, 'rules', to_jsonb(over.rules)));
    done := done + 1;
  end loop;
  return done;
end $function$;

CREATE OR REPLACE FUNCTION public.find_builder_key(wanted text)
 RETURNS TABLE(key_id text, tenant_id text, builder_id text, name text, public_key bytea, status text)
 LANGUAGE plpgsql
AS $function$
declare key record;
begin
  perform set_config('cf.lookup', wanted, true);
  select k.* into key from builder_key k where k.key_id = wanted;
  if not found then return; end if;
  perform set_config('cf.tenant', key.tenant_id, true);
  return query select key.key_id, key.tenant_id, b.id, b.name, key.public_key,
                      case when b.active then key.status else 'revoked' end
               from builder b where b.id = key.builder_id;
end $function$;

CREATE OR REPLACE FUNCTION public.find_enroll_token(wanted text)
 RETURNS TABLE(id text, tenant_id text, key_id text, public_key bytea, hostname_pattern text)
 LANGUAGE plpgsql
AS $function$
begin
  perform set_config('cf.lookup', wanted, true);
  return query select t.id, t.tenant_id, t.key_id, t.public_key, t.hostname_pattern from enroll_token t where t.key_id = wanted;
end $function$;

CREATE OR REPLACE FUNCTION public.find_hook(wanted text)
 RETURNS TABLE(id text, tenant_id text, provider text, secret_sealed bytea, previous_secret_sealed bytea, flake_id text, flake_name text, branch text)
 LANGUAGE plpgsql
AS $function$
declare found_hook hook;
begin
  perform set_config('cf.lookup', wanted, true);
  select h.* into found_hook from hook h where h.id = wanted and h.active;
  if not found then return; end if;
  perform set_config('cf.tenant', found_hook.tenant_id, true);
  return query select found_hook.id, found_hook.tenant_id, found_hook.provider, found_hook.secret_sealed,
                      found_hook.previous_secret_sealed, f.id, f.name, f.branch
               from flake f where f.id = found_hook.flake_id and f.active;
end $function$;

CREATE OR REPLACE FUNCTION public.find_key_to_replace(wanted text, replacement text)
 RETURNS TABLE(key_id text, tenant_id text, system_id text, hostname text, public_key bytea, status text)
 LANGUAGE plpgsql
AS $function$
declare key record;
begin
  perform set_config('cf.lookup', wanted, true);
  select k.* into key from system_key k where k.key_id = wanted;
  if not found then return; end if;
  perform set_config('cf.tenant', key.tenant_id, true);
  return query select key.key_id, key.tenant_id, s.id, s.hostname, key.public_key,
    case when s.active and (key.status = 'active' or key.revoked_because = 'replaced by ' || replacement and exists (
           select from system_key n where n.key_id = replacement and n.system_id = key.system_id and n.status = 'active'))
         then 'active' else 'revoked' end
    from system s where s.id = key.system_id;
end $function$;

CREATE OR REPLACE FUNCTION public.find_original_keys(wanted text, most integer)
 RETURNS TABLE(key_id text, tenant_id text, system_id text, hostname text, public_key bytea, status text, key_until timestamp with time zone, tenant_until timestamp with time zone, rfc9421_used_at timestamp with time zone, last_micros bigint, desired_target text)
 LANGUAGE plpgsql
AS $function$
declare key record;
begin
  perform set_config('cf.lookup', wanted, true), set_config('cf.tenant', '', true);
  for key in select k.* from system_key k
             where k.hostname = wanted and k.original_wire_until is not null
             order by k.status, k.created_at desc limit most
  loop
    perform set_config('cf.tenant', key.tenant_id, true);
    return query select key.key_id, key.tenant_id, s.id, s.hostname, key.public_key,
                        case when s.active then key.status else 'revoked' end,
                        key.original_wire_until, t.original_wire_until, key.rfc9421_used_at,
                        (extract(epoch from key.original_last_timestamp) * 1000000)::bigint, s.desired_target
                 from system s join tenant t on t.id = s.tenant_id where s.id = key.system_id;
  end loop;
end $function$;

CREATE OR REPLACE FUNCTION public.find_system_key(wanted text)
 RETURNS TABLE(key_id text, tenant_id text, system_id text, hostname text, public_key bytea, status text)
 LANGUAGE plpgsql
AS $function$
declare key record;
begin
  perform set_config('cf.lookup', wanted, true);
  select k.* into key from system_key k where k.key_id = wanted;
  if not found then return; end if;
  perform set_config('cf.tenant', key.tenant_id, true);
  return query select key.key_id, key.tenant_id, s.id, s.hostname, key.public_key,
                      case when s.active then key.status else 'revoked' end
               from system s where s.id = key.system_id;
end $function$;

CREATE OR REPLACE FUNCTION public.fleet_movement(on_day date)
 RETURNS TABLE(new_commits integer, evaluated_commits integer, deployed_commits integer, updated_systems integer, seconds_to_deploy double precision)
 LANGUAGE sql
 STABLE
AS $function$
  with span as (
    select on_day::timestamp at time zone 'UTC' as from_at, (on_day + 1)::timestamp at time zone 'UTC' as to_at
  ), arrival as (
    select s.id as system_id, s.configuration_id, st.current_path, st.received_at
    from span
    join system s on s.tenant_id = cf_tenant() and s.active
    join system_state st on st.system_id = s.id and st.received_at >= span.from_at and st.received_at < span.to_at
    join lateral (select p.current_path from system_state p where p.system_id = s.id and p.received_at < st.received_at
                  order by p.received_at desc limit 1) before on before.current_path <> st.current_path
  ), attributed as (
    select a.system_id, a.received_at, g.flake_id, p.last_position,
           (select min(e.evaluated_at) from derivation d join evaluation e on e.derivation_id = d.id
            where d.tenant_id = cf_tenant() and d.out_path = a.current_path and e.configuration_id = a.configuration_id) as evaluated_at
    from arrival a
    left join configuration_path p on p.configuration_id = a.configuration_id and p.out_path = a.current_path
    left join configuration g on g.id = p.configuration_id
  )
  select (select count(*) from commit c, span where c.tenant_id = cf_tenant() and c.discovered_at >= from_at and c.discovered_at < to_at)::integer,
         (select count(*) from commit c, span where c.tenant_id = cf_tenant() and c.evaluated_at >= from_at and c.evaluated_at < to_at)::integer,
         count(distinct (flake_id, last_position)) filter (where last_position is not null)::integer,
         count(distinct system_id)::integer,
         avg(extract(epoch from received_at - evaluated_at)) filter (where received_at >= evaluated_at)::double precision
  from attributed
$function$;

CREATE OR REPLACE FUNCTION public.fleet_standing()
 RETURNS TABLE(systems integer, up_to_date integer, behind integer, no_evaluation integer, offline integer, never_seen integer, reporting integer, tpm integer, secure_boot integer, fips integer, selinux integer, agent_versions integer, outdated_agents integer)
 LANGUAGE sql
 STABLE
AS $function$
  with standing as (
    select v.verdict, system_health(v.seen_at, now()) as health, v.seen_at is not null as reports, c.agent_version,
           st.facts -> 'fingerprint' as found
    from system_verdict v
    left join system_current c on c.system_id = v.system_id
    left join system_state st on st.id = c.state_id
    where v.tenant_id = cf_tenant() and v.active
  )
  select count(*)::integer,
         count(*) filter (where verdict = 'up_to_date')::integer,
         count(*) filter (where verdict in ('behind', 'building', 'build_failed'))::integer,
         count(*) filter (where verdict in ('no_evaluation', 'evaluation_failed', 'untracked', 'unattributed'))::integer,
         count(*) filter (where health = 'offline')::integer,
         count(*) filter (where not reports)::integer,
         count(*) filter (where reports)::integer,
         count(*) filter (where found -> 'tpm_present' = 'true')::integer,
         count(*) filter (where found -> 'secure_boot_enabled' = 'true')::integer,
         count(*) filter (where found -> 'fips_mode' = 'true')::integer,
         count(*) filter (where found ->> 'selinux_status' = 'enforcing')::integer,
         count(distinct agent_version)::integer,
         count(*) filter (where version_key(agent_version) < (select max(version_key(n.agent_version)) from standing n))::integer
  from standing
$function$;

CREATE OR REPLACE FUNCTION public.ingest_original_report(tenant text, report jsonb, body bytea, event bytea, stamped_micros bigint)
 RETURNS TABLE(outcome text, kind text, received_at timestamp with time zone)
 LANGUAGE plpgsql
AS $function$
declare stamped timestamptz := 'epoch'::timestamptz + stamped_micros * interval '1 microsecond';
begin
  perform set_config('cf.tenant', tenant, true);
  update system_key k set original_last_timestamp = stamped
  where k.key_id = report ->> 'key' and k.status = 'active' and k.rfc9421_used_at is null
    and k.original_wire_until > (report ->> 'received_at')::timestamptz
    and exists (select from system s where s.id = k.system_id and s.active)
    and exists (select from tenant t where t.id = tenant and t.original_wire_until > (report ->> 'received_at')::timestamptz)
    and (k.original_last_timestamp is null or k.original_last_timestamp < stamped);
  if not found then
    return query select 'stale', 'heartbeat', (report ->> 'received_at')::timestamptz;
    return;
  end if;
  return query select i.outcome, i.kind, i.received_at
               from ingest_reports(tenant, jsonb_build_array(report), array[body], array[event]) i;
end $function$;

CREATE OR REPLACE FUNCTION public.ingest_packed_reports(tenant text, reports jsonb, bytes bytea, lengths integer[])
 RETURNS TABLE(n integer, outcome text, kind text, received_at timestamp with time zone)
 LANGUAGE plpgsql
AS $function$
declare bodies bytea[]; events bytea[]; first integer := 1;
begin
  for at in 1 .. cardinality(lengths) / 2 loop
    bodies[at] := substring(bytes from first for lengths[2 * at - 1]);
    first := first + lengths[2 * at - 1];
    events[at] := substring(bytes from first for lengths[2 * at]);
    first := first + lengths[2 * at];
  end loop;
  return query select * from ingest_reports(tenant, reports, bodies, events);
end $function$;

CREATE OR REPLACE FUNCTION public.ingest_reports(tenant text, reports jsonb, bodies bytea[], events bytea[])
 RETURNS TABLE(n integer, outcome text, kind text, received_at timestamp with time zone)
 LANGUAGE plpgsql
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
AS $function$
declare
  known integer[]; fresh integer[]; states integer[]; beats integer[]; first_use text[];
begin
  perform set_config('cf.tenant', tenant, true);
  if (select count(*) <> count(distinct r.system) from jsonb_to_recordset(reports) as r(system text)) then
    raise exception 'a batch holds one report a system' using errcode = 'invalid_parameter_value';
  end if;

  with report as (
    select * from rows from (jsonb_to_recordset(reports) as (
      key text, system text, hostname text, nonce text, expires_at timestamptz, assurance text
    )) with ordinality as r(key_id, system_id, hostname, nonce, expires_at, assurance, n)
  ), caller as materialized (
    select r.n::integer as n, r.key_id, r.nonce, r.expires_at,
           case when k.rfc9421_used_at is null and r.assurance = 'rfc9421' then r.key_id end as first_use
    from report r
    cross join lateral (select * from system_key k where k.key_id = r.key_id offset 0) k
    cross join lateral (select * from system s where s.id = r.system_id offset 0) s
    where k.system_id = r.system_id and k.status = 'active' and s.hostname = r.hostname and s.active
  ), spent as (
    insert into request_nonce (key_id, nonce, tenant_id, expires_at)
    select c.key_id, c.nonce, tenant, c.expires_at from caller c order by c.key_id
    on conflict do nothing
    returning request_nonce.key_id
  )
  select array_agg(c.n), array_agg(c.n) filter (where s.key_id is not null),
         array_agg(c.first_use) filter (where s.key_id is not null and c.first_use is not null)
  into known, fresh, first_use
  from caller c left join spent s on s.key_id = c.key_id;

  if first_use is not null then
    update system_key k set rfc9421_used_at = now() where k.key_id = any (first_use);
  end if;

  with report as materialized (
    select r.n::integer as n, r.system_id, r.report_id, r.kind, decode(r.digest, 'hex') as digest, r.received_at
    from rows from (jsonb_to_recordset(reports) as (
      system text, report_id text, kind text, digest text, received_at timestamptz
    )) with ordinality as r(system_id, report_id, kind, digest, received_at, n)
    where r.n = any (fresh)
  ), receipt as (
    insert into report_receipt (system_id, report_id, tenant_id, kind, digest, received_at)
    select r.system_id, r.report_id, tenant,
           case when r.kind = 'state' or c.digest is distinct from r.digest then 'state' else 'heartbeat' end,
           r.digest, r.received_at
    from report r left join lateral (select c.digest from system_current c where c.system_id = r.system_id offset 0) c on true
    where r.kind <> 'heartbeat' or c.digest = r.digest
    order by r.system_id
    on conflict do nothing
    returning report_receipt.system_id, report_receipt.kind
  )
  select array_agg(r.n) filter (where i.kind = 'state'), array_agg(r.n) filter (where i.kind = 'heartbeat')
  into states, beats
  from report r join receipt i on i.system_id = r.system_id;

  if states is not null then perform record_states(tenant, reports, bodies, events, states); end if;
  if beats is not null then perform record_heartbeats(tenant, reports, beats); end if;

  if coalesce(cardinality(states), 0) + coalesce(cardinality(beats), 0) = jsonb_array_length(reports) then
    return query
    select r.n::integer, 'recorded', case when r.n = any (states) then 'state' else 'heartbeat' end, r.received_at
    from rows from (jsonb_to_recordset(reports) as (received_at timestamptz)) with ordinality as r(received_at, n);
    return;
  end if;

  return query
  select r.n::integer,
         case when not coalesce(r.n = any (known), false) then 'refused'
              when not coalesce(r.n = any (fresh), false) then 'replayed'
              when r.n = any (states) or r.n = any (beats) then 'recorded'
              when f.report_id is null then 'state_required'
              else 'duplicate' end,
         coalesce(f.kind, 'state'),
         coalesce(f.received_at, r.received_at)
  from rows from (jsonb_to_recordset(reports) as (system text, report_id text, received_at timestamptz))
         with ordinality as r(system_id, report_id, received_at, n)
  left join lateral (
    select f.* from report_receipt f where f.system_id = r.system_id and f.report_id = r.report_id offset 0
  ) f on true
  order by r.n;
end $function$;

CREATE OR REPLACE FUNCTION public.isolate_tenant(tables text[])
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare t text;
begin
  foreach t in array tables loop
    execute format('alter table %I enable row level security', t);
    execute format('alter table %I force row level security', t);
    execute format('create policy tenant on %I using (tenant_id = (select cf_tenant())) with check (tenant_id = (select cf_tenant()))', t);
  end loop;
end $function$;

CREATE OR REPLACE FUNCTION public.job_hint(job text, kind text, attempt integer)
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE
AS $function$
  select jsonb_build_object('v', 1, 'job', job, 'kind', kind, 'attempt', attempt)
$function$;

CREATE OR REPLACE FUNCTION public.keep_current_evaluation(c commit, config text, evaluation_id text, out_path text)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
  if out_path is not null then
    insert into configuration_path (configuration_id, out_path, tenant_id, first_position, last_position)
    values (config, keep_current_evaluation.out_path, cf_tenant(), c.position, c.position)
    on conflict on constraint configuration_path_pkey do update
      set first_position = least(configuration_path.first_position, excluded.first_position),
          last_position = greatest(configuration_path.last_position, excluded.last_position);
  end if;
  if not c.on_branch then return; end if;
  update configuration g set latest_position = c.position, latest_evaluation_id = evaluation_id
  where g.id = config and (g.latest_position is null or g.latest_position <= c.position);
  if out_path is null then return; end if;
  update configuration g set desired_position = c.position, desired_evaluation_id = evaluation_id
  where g.id = config and (g.desired_position is null or g.desired_position <= c.position);
end $function$;

CREATE OR REPLACE FUNCTION public.minute_of_day(at timestamp with time zone)
 RETURNS integer
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
  select (extract(hour from at at time zone 'UTC') * 60 + extract(minute from at at time zone 'UTC'))::integer
$function$;

CREATE OR REPLACE FUNCTION public.missing_paths(paths text[])
 RETURNS SETOF text
 LANGUAGE sql
 STABLE
AS $function$
  select wanted from unnest(paths) with ordinality as w(wanted, n)
  where not exists (select from store_path s where s.tenant_id = cf_tenant() and s.path = wanted and s.published_at is not null)
  order by n
$function$;

CREATE OR REPLACE FUNCTION public.new_id(prefix text)
 RETURNS text
 LANGUAGE sql
AS $function$ select prefix || '_' || replace(uuidv7()::text, '-', '') $function$;

CREATE OR REPLACE FUNCTION public.notify_waivers(most integer)
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
declare ending record; done integer := 0;
begin
  for ending in
    select w.id, w.name, w.rules, w.owner, w.author, w.approver, w.expires_at, notice.days
    from waivers_at(now()) w
    cross join lateral (
      select min(days) as days from unnest(array[30, 7, 1]) days where w.expires_at <= now() + make_interval(hours => 24 * days)
    ) notice
    where w.state = 'approved' and w.changed_at < w.expires_at - make_interval(hours => 24 * notice.days)
      and not exists (select from waiver_notice n where n.waiver_id = w.id and n.days_before <= notice.days)
    order by w.expires_at, w.id limit most
  loop
    -- Waits for another sweep that says the same, and does nothing unless that one breaks off.
    insert into waiver_notice (tenant_id, waiver_id, days_before) values (cf_tenant(), ending.id, ending.days) on conflict do nothing;
    if not found then continue; end if;
    perform record_event('waiver.expiring', jsonb_build_object('kind', 'system', 'name', 'sweep'),
      jsonb_build_object('waiver', ending.id, 'name', ending.name, 'rules', to_jsonb(ending.rules), 'owner', ending.owner,
        'author', ending.author, 'approver', ending.approver, 'days_before', ending.days,
        'expires_at', to_char(ending.expires_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')));
    done := done + 1;
  end loop;
  return done;
end $function$;

CREATE OR REPLACE FUNCTION public.receive_delivery(of_hook text, delivery text, body_sha bytea, meant text)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
declare same boolean;
begin
  perform pg_advisory_xact_lock(hashtextextended('deliveries of ' || of_hook, 0));
  if exists (select from hook_delivery d where d.hook_id = of_hook and d.delivery_id = delivery) then return 'seen'; end if;
  same := exists (select from hook_delivery d where d.hook_id = of_hook and d.body_sha256 = body_sha
                  and d.received_at > now() - interval '10 minutes' and d.outcome = 'accepted');
  insert into hook_delivery (hook_id, delivery_id, tenant_id, body_sha256, outcome)
  values (of_hook, delivery, cf_tenant(), body_sha, case when same then 'same-body' else meant end);
  return case when same then 'same-body' else 'new' end;
end $function$;

CREATE OR REPLACE FUNCTION public.record_commits(of_flake text, walked jsonb, base text, continues boolean, evaluate_most integer, actor jsonb)
 RETURNS TABLE(added integer, queued integer, left_branch integer)
 LANGUAGE plpgsql
AS $function$
declare
  item jsonb; put commit; top bigint; reactivated integer := 0; fresh text[] := '{}'; was_known boolean;
begin
  perform pg_advisory_xact_lock(hashtextextended('commits of ' || of_flake, 0));
  added := 0;
  update commit c set on_branch = false
  where c.flake_id = of_flake and c.on_branch
    and not exists (select from jsonb_array_elements(walked) f where f ->> 'rev' = c.rev)
    and case when continues then c.position > (select b.position from commit b where b.flake_id = of_flake and b.rev = base)
             else true end;
  get diagnostics left_branch = row_count;
  select coalesce(max(c.position), 0) into top from commit c where c.flake_id = of_flake;
  for item in select value from jsonb_array_elements(walked) with ordinality as f(value, n) order by n loop
    select exists (select from commit c where c.flake_id = of_flake and c.rev = item ->> 'rev' and c.on_branch) into was_known;
    continue when was_known;
    top := top + 1;
    insert into commit (tenant_id, flake_id, rev, position, committed_at, subject)
    values (cf_tenant(), of_flake, item ->> 'rev', top, (item ->> 'committed_at')::timestamptz, item ->> 'subject')
    on conflict (flake_id, rev) do update set position = excluded.position, on_branch = true
    returning * into put;
    if put.evaluated_at is null and put.state in ('pending', 'skipped') then fresh := fresh || put.id; end if;
    if put.discovered_at < now() then
      reactivated := reactivated + 1;
      update configuration_path p set last_position = greatest(p.last_position, top)
      from evaluation e join derivation d on d.id = e.derivation_id
      where e.commit_id = put.id and p.configuration_id = e.configuration_id and p.out_path = d.out_path;
    else
      added := added + 1;
    end if;
    perform record_event('commit.discovered', actor, jsonb_build_object(
      'flake', of_flake, 'commit', put.id, 'rev', put.rev, 'position', top, 'committed_at', item ->> 'committed_at'));
  end loop;
  update commit c set state = 'skipped'
  where c.id = any (fresh[1 : greatest(cardinality(fresh) - evaluate_most, 0)]);
  fresh := fresh[greatest(cardinality(fresh) - evaluate_most, 0) + 1 : cardinality(fresh)];
  update commit c set state = 'pending', error = null where c.id = any (fresh) and c.state <> 'pending';
  perform enqueue_job('evaluate', c.id, jsonb_build_object('flake', of_flake, 'rev', c.rev), commit_priority(c.committed_at, c.position))
  from commit c where c.id = any (fresh) order by c.position desc;
  queued := cardinality(fresh);
  if left_branch > 0 or reactivated > 0 then perform refresh_configurations(of_flake); end if;
  update flake f set resolved_at = now(), last_error = null, next_poll_at = now() + make_interval(secs => f.poll_interval_s)
  where f.id = of_flake;
  return next;
end $function$;

CREATE OR REPLACE FUNCTION public.record_evaluation(of_commit text, with_evaluator text, actor jsonb, one jsonb)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
declare
  c commit; config text; d derivation; old evaluation; evaluation_id text; ok boolean := one ->> 'state' = 'ok';
  detail jsonb;
begin
  select * into strict c from commit where id = of_commit;
  insert into configuration (tenant_id, flake_id, name) values (cf_tenant(), c.flake_id, one ->> 'configuration')
  on conflict (flake_id, name) do update set name = excluded.name returning id into config;
  select * into old from evaluation e where e.commit_id = c.id and e.configuration_id = config;
  detail := jsonb_build_object('flake', c.flake_id, 'commit', c.id, 'rev', c.rev, 'configuration', one ->> 'configuration',
    'evaluator', with_evaluator, 'state', one ->> 'state');
  if ok then
    insert into derivation (tenant_id, drv_path, out_path, name, system, export_key)
    values (cf_tenant(), one ->> 'drv_path', one ->> 'out_path', substr(one ->> 'out_path', 45), one ->> 'system', one ->> 'export_key')
    on conflict (tenant_id, drv_path) do update set export_key = coalesce(derivation.export_key, excluded.export_key)
    returning * into d;
    detail := detail || jsonb_build_object('drv_path', one ->> 'drv_path', 'out_path', one ->> 'out_path');
  end if;
  if old.state = 'ok' and not ok then return 'same'; end if;
  if old.state = 'ok' and old.derivation_id = d.id and d.out_path = one ->> 'out_path' then return 'same'; end if;
  if old.state = 'ok' or d.out_path <> one ->> 'out_path' then
    perform record_event('evaluation.recorded', actor, detail || jsonb_build_object('refused', 'evaluator_version', 'stands', old.id));
    return 'evaluator_version';
  end if;
  insert into evaluation (tenant_id, commit_id, configuration_id, state, error_class, error, error_trace, derivation_id,
    agent_assertion, facts, stig_report, evaluator, duration_ms)
  values (cf_tenant(), c.id, config, one ->> 'state', one ->> 'class', one ->> 'message', one ->> 'trace', d.id,
    (one ->> 'agent_assertion')::boolean, coalesce(one -> 'facts', '{}'), one -> 'stig_report', with_evaluator, (one ->> 'duration_ms')::integer)
  on conflict (commit_id, configuration_id) do update
    set state = excluded.state, error_class = excluded.error_class, error = excluded.error, error_trace = excluded.error_trace,
        derivation_id = excluded.derivation_id, agent_assertion = excluded.agent_assertion, facts = excluded.facts,
        stig_report = excluded.stig_report, evaluator = excluded.evaluator, duration_ms = excluded.duration_ms, evaluated_at = now()
  returning id into evaluation_id;
  perform keep_current_evaluation(c, config, evaluation_id, d.out_path);
  if ok then perform enqueue_build(d.id); end if;
  if ok then perform draft_waivers(config, one -> 'stig_report'); end if;
  perform record_event('evaluation.recorded', actor, detail || jsonb_build_object('effect', jsonb_build_object('table', 'evaluation', 'id', evaluation_id)));
  return 'recorded';
end $function$;

CREATE OR REPLACE FUNCTION public.record_event(event_type text, actor jsonb, detail jsonb)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
declare event_id text := new_id('evt'); at text := to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"');
begin
  insert into audit_event (id, tenant_id, type, body)
  values (event_id, cf_tenant(), event_type, convert_to(canonical_json(
    jsonb_build_object('v', 1, 'id', event_id, 'at', at, 'tenant', cf_tenant(), 'type', event_type, 'actor', actor) || detail), 'UTF8'));
  insert into audit_pending (event_id, tenant_id) values (event_id, cf_tenant());
  return event_id;
end $function$;

CREATE OR REPLACE FUNCTION public.record_fleet_day(renew interval DEFAULT '00:15:00'::interval)
 RETURNS boolean
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public'
AS $function$
declare today date := (now() at time zone 'UTC')::date;
begin
  if cf_tenant() is null then raise exception 'record_fleet_day needs a tenant' using errcode = 'invalid_parameter_value'; end if;
  if exists (select from fleet_day d where d.tenant_id = cf_tenant() and d.day = today and d.recorded_at > now() - renew) then
    return false;
  end if;
  insert into fleet_day
  select cf_tenant(), today, s.*, v.*, now() from fleet_standing() s, fleet_movement(today) v
  on conflict (tenant_id, day) do update set
    systems = excluded.systems, up_to_date = excluded.up_to_date, behind = excluded.behind, no_evaluation = excluded.no_evaluation,
    offline = excluded.offline, never_seen = excluded.never_seen, reporting = excluded.reporting, tpm = excluded.tpm,
    secure_boot = excluded.secure_boot, fips = excluded.fips, selinux = excluded.selinux, agent_versions = excluded.agent_versions,
    outdated_agents = excluded.outdated_agents, new_commits = excluded.new_commits, evaluated_commits = excluded.evaluated_commits,
    deployed_commits = excluded.deployed_commits, updated_systems = excluded.updated_systems,
    seconds_to_deploy = excluded.seconds_to_deploy, recorded_at = excluded.recorded_at;
  -- What happened yesterday after its last record. How the fleet stood then is not known any more.
  update fleet_day d set
    (new_commits, evaluated_commits, deployed_commits, updated_systems, seconds_to_deploy, recorded_at) =
      (select v.*, now() from fleet_movement(today - 1) v)
  where d.tenant_id = cf_tenant() and d.day = today - 1 and d.recorded_at < (today::timestamp at time zone 'UTC');
  return true;
end $function$;

CREATE OR REPLACE FUNCTION public.record_heartbeats(tenant text, reports jsonb, chosen integer[])
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
  with beat as materialized (
    select r.system_id, r.at
    from rows from (jsonb_to_recordset(reports) as (system text, received_at timestamptz))
           with ordinality as r(system_id, at, n)
    where r.n = any (chosen) order by r.system_id
  ), seen as (
    update system_current c set heartbeat_at = greatest(c.heartbeat_at, b.at), seen_at = greatest(c.seen_at, b.at)
    from beat b where c.system_id = b.system_id
  )
  insert into heartbeat as h (system_id, day, tenant_id, beats, minutes, first_at, last_at)
  select b.system_id, (b.at at time zone 'UTC')::date, tenant, 1,
         set_bit(repeat('0', 1440)::bit(1440), minute_of_day(b.at), 1), b.at, b.at
  from beat b
  on conflict (system_id, day) do update set
    beats = h.beats + 1, minutes = set_bit(h.minutes, minute_of_day(excluded.last_at), 1),
    first_at = least(h.first_at, excluded.first_at), last_at = greatest(h.last_at, excluded.last_at);
end $function$;

CREATE OR REPLACE FUNCTION public.record_states(tenant text, reports jsonb, bodies bytea[], events bytea[], chosen integer[])
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare moved text[];
begin
  with report as materialized (
    select r.event_id, r.body, r.event
    from rows from (jsonb_to_recordset(reports) as (system text, event_id text), unnest(bodies), unnest(events))
           with ordinality as r(system_id, event_id, body, event, n)
    where r.n = any (chosen) order by r.system_id
  ), evidence as (
    insert into evidence_object (tenant_id, sha256, body)
    select tenant, sha256(r.body), r.body from report r
    on conflict do nothing
  ), event as (
    insert into audit_event (id, tenant_id, type, body) select r.event_id, tenant, 'agent.report', r.event from report r
  )
  insert into audit_pending (event_id, tenant_id) select r.event_id, tenant from report r;

  with report as materialized (
    select r.system_id, r.report_id, r.assurance, decode(r.digest, 'hex') as digest, r.collected_at, r.received_at,
           sha256(r.body) as evidence, s.*
    from rows from (jsonb_to_recordset(reports) as (
           system text, report_id text, assurance text, digest text, collected_at timestamptz, received_at timestamptz,
           state jsonb), unnest(bodies))
           with ordinality as r(system_id, report_id, assurance, digest, collected_at, received_at, state, body, n),
         jsonb_to_record(r.state) as s(
           id text, change_reason text, current_path text, booted_path text, profile_path text, generation bigint,
           boot_id text, revision text, failed_units text[], agent_version text, nixos_version text, kernel text, facts jsonb)
    where r.n = any (chosen)
    order by r.system_id
  ), history as (
    insert into system_state (id, tenant_id, system_id, report_id, digest, change_reason, current_path, booted_path,
                              profile_path, facts, assurance, evidence_sha256, collected_at, received_at)
    select r.id, tenant, r.system_id, r.report_id, r.digest, r.change_reason, r.current_path, r.booted_path,
           r.profile_path, r.facts, r.assurance, r.evidence, r.collected_at, r.received_at
    from report r
  ), current as (
    insert into system_current as c (system_id, tenant_id, state_id, digest, current_path, booted_path, profile_path,
      generation, boot_id, revision, failed_units, agent_version, nixos_version, kernel, assurance, collected_at,
      state_received_at, seen_at)
    select r.system_id, tenant, r.id, r.digest, r.current_path, r.booted_path, r.profile_path, r.generation, r.boot_id,
           r.revision, r.failed_units, r.agent_version, r.nixos_version, r.kernel, r.assurance,
           r.collected_at, r.received_at, r.received_at
    from report r
    on conflict (system_id) do update set
      state_id = excluded.state_id, digest = excluded.digest, current_path = excluded.current_path,
      booted_path = excluded.booted_path, profile_path = excluded.profile_path, generation = excluded.generation,
      boot_id = excluded.boot_id, revision = excluded.revision, failed_units = excluded.failed_units,
      agent_version = excluded.agent_version, nixos_version = excluded.nixos_version, kernel = excluded.kernel,
      assurance = excluded.assurance, collected_at = excluded.collected_at,
      state_received_at = excluded.state_received_at, seen_at = greatest(c.seen_at, excluded.seen_at)
    -- A state that was collected earlier and arrives late is history only.
    where excluded.collected_at >= c.collected_at
    returning c.system_id
  )
  select array_agg(c.system_id) into moved from current c;

  if coalesce(cardinality(moved), 0) < cardinality(chosen) then
    with late as materialized (
      select r.system_id, r.received_at
      from rows from (jsonb_to_recordset(reports) as (system text, received_at timestamptz))
             with ordinality as r(system_id, received_at, n)
      where r.n = any (chosen) and not r.system_id = any (coalesce(moved, '{}'))
    )
    update system_current c set seen_at = greatest(c.seen_at, r.received_at)
    from late r where c.system_id = r.system_id;
  end if;
end $function$;

CREATE OR REPLACE FUNCTION public.refresh_configurations(of_flake text)
 RETURNS void
 LANGUAGE sql
AS $function$
  update configuration g
  set (latest_position, latest_evaluation_id) = (
        select c.position, e.id from evaluation e join commit c on c.id = e.commit_id
        where e.configuration_id = g.id and c.on_branch order by c.position desc limit 1),
      (desired_position, desired_evaluation_id) = (
        select c.position, e.id from evaluation e join commit c on c.id = e.commit_id
        where e.configuration_id = g.id and c.on_branch and e.state = 'ok' order by c.position desc limit 1)
  where g.flake_id = of_flake
$function$;

CREATE OR REPLACE FUNCTION public.refuse_change()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  raise exception '% is append-only: % refused', tg_table_name, lower(tg_op) using errcode = 'integrity_constraint_violation';
end $function$;

CREATE OR REPLACE FUNCTION public.refuse_own_acceptance()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  if new.decision = 'accepted' and exists (
       select from control_evidence e
       where e.id = new.evidence_id and same_person(new.subject, new.person, e.author_subject, e.author)) then
    raise exception 'statement % cannot be accepted by its author', new.evidence_id using errcode = 'integrity_constraint_violation';
  end if;
  return new;
end $function$;

CREATE OR REPLACE FUNCTION public.refuse_own_approval()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
declare w waiver; submitted waiver_transition;
begin
  if new.state <> 'approved' then return new; end if;
  select * into strict w from waiver where id = new.waiver_id;
  select * into strict submitted from waiver_transition t where t.waiver_id = w.id and t.state = 'submitted' order by t.step desc limit 1;
  if same_person(new.subject, new.person, w.author_subject, w.author)
     or same_person(new.subject, new.person, submitted.subject, submitted.person) then
    raise exception 'waiver % cannot be approved by who wrote or submitted it', w.id using errcode = 'integrity_constraint_violation';
  end if;
  if coalesce(submitted.expires_at, w.expires_at) > now() + interval '365 days 1 hour' then
    raise exception 'waiver % is longer than 365 days', w.id using errcode = 'integrity_constraint_violation';
  end if;
  return new;
end $function$;

CREATE OR REPLACE FUNCTION public.refuse_owned_key()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public'
AS $function$
declare
  before text := current_setting('cf.lookup', true);
  owned boolean;
begin
  perform pg_advisory_xact_lock(hashtextextended('owner of ' || new.key_id, 0));
  perform set_config('cf.lookup', new.key_id, true);
  if tg_table_name = 'system_key' then
    select exists (select from builder_key k where k.key_id = new.key_id) into owned;
  else
    select exists (select from system_key k where k.key_id = new.key_id) into owned;
  end if;
  perform set_config('cf.lookup', coalesce(before, ''), true);
  if owned then
    raise exception 'key % belongs to somebody else', new.key_id using errcode = 'unique_violation', constraint = 'one_owner_per_key';
  end if;
  return new;
end $function$;

CREATE OR REPLACE FUNCTION public.requeue_job(job text, class text, message text, log_tail text, pause interval, more jsonb)
 RETURNS void
 LANGUAGE sql
AS $function$
  with put as (
    update job j
    set state = 'queued', attempt = j.attempt + 1, builder_id = null, lease_until = null, not_before = now() + pause,
        failure_class = class, failure_message = message, log_tail = coalesce(requeue_job.log_tail, j.log_tail),
        payload = (j.payload - 'again') || more, hinted_at = null, progress = null
    where j.id = requeue_job.job and j.state = 'leased'
    returning j.id, j.kind, j.attempt, j.not_before
  )
  insert into outbox (tenant_id, queue, body, not_before)
  select cf_tenant(), put.kind, job_hint(put.id, put.kind, put.attempt), put.not_before from put
$function$;

CREATE OR REPLACE FUNCTION public.running_at(hosts text[], moment timestamp with time zone)
 RETURNS TABLE(system_id text, current_path text, booted_path text, facts jsonb, collected_at timestamp with time zone)
 LANGUAGE sql
 STABLE
AS $function$
  select s.system_id, s.current_path, s.booted_path, s.facts, s.collected_at
  from unnest(hosts) h(id)
  join lateral (
    -- A spool arrives in its order, so the last to be collected is among the last that arrived.
    select * from (select * from system_state s where s.system_id = h.id and s.received_at <= moment order by s.received_at desc limit 64) s
    where s.collected_at <= moment order by s.collected_at desc, s.received_at desc limit 1
  ) s on true
$function$;

CREATE OR REPLACE FUNCTION public.same_person(subject text, name text, other_subject text, other_name text)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
  select coalesce(subject = other_subject, false)
      or (name = other_name and (coalesce(subject, 'token:') like 'token:%' or coalesce(other_subject, 'token:') like 'token:%'))
$function$;

CREATE OR REPLACE FUNCTION public.statements_at(hosts text[], moment timestamp with time zone)
 RETURNS TABLE(id text, system_id text, rule_id text, source text, holds boolean, statement text, claimed_status text, author text, approver text, collected_at timestamp with time zone, expires_at timestamp with time zone, author_subject text, approver_subject text)
 LANGUAGE sql
 STABLE
AS $function$
  select e.id, e.system_id, e.rule_id, e.source, e.holds, e.statement, e.claimed_status, e.author,
         case when d.decision = 'accepted' then d.person end, e.collected_at, e.expires_at, e.author_subject,
         case when d.decision = 'accepted' then d.subject end
  from (
    select distinct on (e.system_id, e.rule_id, coalesce(e.author_subject, e.author)) e.* from control_evidence e
    where e.system_id = any (hosts) and e.recorded_at <= moment and e.collected_at <= moment
    order by e.system_id, e.rule_id, coalesce(e.author_subject, e.author), e.collected_at desc, e.id desc
  ) e
  left join lateral (select * from control_evidence_decision d where d.evidence_id = e.id and d.decided_at <= moment
                     order by d.decided_at desc, d.id desc limit 1) d on true
  where d.decision is distinct from 'rejected'
$function$;

CREATE OR REPLACE FUNCTION public.stig_rule_states(report jsonb)
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
  select jsonb_object_agg(state, rules) from (
    select r.value ->> 'state' as state, jsonb_agg(r.key order by r.key) as rules
    from jsonb_each(case when jsonb_typeof(report -> 'rules') = 'object' then report -> 'rules' else '{}' end) r
    where r.value ->> 'state' is not null
    group by 1
  ) grouped
$function$;

CREATE OR REPLACE FUNCTION public.system_health(seen_at timestamp with time zone, at timestamp with time zone)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
  select case
    when seen_at is null then 'never_seen'
    when at - seen_at < interval '15 minutes' then 'healthy'
    when at - seen_at < interval '1 hour' then 'warning'
    when at - seen_at < interval '4 hours' then 'critical'
    else 'offline'
  end
$function$;

CREATE OR REPLACE FUNCTION public.turn_nonce_partitions(ahead interval DEFAULT '48:00:00'::interval, grace interval DEFAULT '00:10:00'::interval)
 RETURNS TABLE(created integer, dropped integer)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public'
AS $function$
declare hour timestamptz; part record; name text;
begin
  created := 0; dropped := 0;
  perform pg_advisory_xact_lock(hashtext('turn_nonce_partitions'));
  for hour in select generate_series(date_trunc('hour', now() - grace), now() + ahead, interval '1 hour') loop
    name := 'request_nonce_' || to_char(hour at time zone 'UTC', 'YYYYMMDD_HH24');
    if to_regclass(name) is null
       and not exists (select 1 from request_nonce_other o where o.expires_at >= hour and o.expires_at < hour + interval '1 hour') then
      execute format('create table %I partition of request_nonce for values from (%L) to (%L)', name, hour, hour + interval '1 hour');
      created := created + 1;
    end if;
  end loop;
  for part in
    select c.relname as name from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'request_nonce'::regclass and c.relname ~ '^request_nonce_[0-9]{8}_[0-9]{2}$'
      and to_timestamp(right(c.relname, 11) || '+00', 'YYYYMMDD_HH24TZH') + interval '1 hour' < now() - grace
  loop
    execute format('drop table %I', part.name);
    dropped := dropped + 1;
  end loop;
  return next;
end $function$;

CREATE OR REPLACE FUNCTION public.version_key(version text)
 RETURNS integer[]
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
  select string_to_array(substring(version from '^v?([0-9]{1,6}(?:\.[0-9]{1,6}){0,5})'), '.')::integer[]
$function$;

CREATE OR REPLACE FUNCTION public.waivers_at(moment timestamp with time zone)
 RETURNS TABLE(id text, name text, rules text[], scope jsonb, type text, justification text, compensating text, residual_severity text, claimed jsonb, source text, owner text, milestones jsonb, review_at timestamp with time zone, author text, submitter text, approver text, state text, step integer, expires_at timestamp with time zone, renews text, created_at timestamp with time zone, changed_at timestamp with time zone, author_subject text, submitter_subject text, approver_subject text)
 LANGUAGE sql
 STABLE
AS $function$
  select w.id, w.name, w.rules, w.scope, coalesce(submitted.type, w.type), w.justification, w.compensating, w.residual_severity,
         w.claimed, w.source, w.owner, w.milestones, w.review_at, w.author, submitted.person, approved.person,
         case when last.state = 'approved' and coalesce(submitted.expires_at, w.expires_at) <= moment then 'expired' else last.state end,
         last.step, coalesce(submitted.expires_at, w.expires_at), w.renews, w.created_at, last.at,
         w.author_subject, submitted.subject, approved.subject
  from waiver w
  join lateral (select * from waiver_transition t where t.waiver_id = w.id and t.at <= moment order by t.step desc limit 1) last on true
  left join lateral (select * from waiver_transition t where t.waiver_id = w.id and t.at <= moment and t.state = 'submitted'
                     order by t.step desc limit 1) submitted on true
  left join lateral (select * from waiver_transition t where t.waiver_id = w.id and t.at <= moment and t.state = 'approved'
                     order by t.step desc limit 1) approved on true
$function$;
