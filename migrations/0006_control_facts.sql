-- compatible
-- What the collectors of a host found: one row a signed message, as it arrived. Which controls follow from it is computed, so a better
-- catalogue judges the past again. Append-only; the exact bytes are in evidence_object.
create table control_facts (
  id text primary key default new_id('cfm'),
  tenant_id text not null references tenant,
  system_id text not null references system,
  -- The host's own id of the message: a retry is recorded once.
  message_id text not null,
  -- Counts from 1; with the hash of the body before, a lost or withheld message is noticed.
  sequence bigint not null check (sequence >= 1),
  previous_sha256 bytea check (length(previous_sha256) = 32),
  boot_id text,
  -- The system that ran while the facts were read.
  current_path text not null,
  booted_path text,
  -- Of the STIG report in that system; null when it has none.
  stig_report_sha256 bytea check (length(stig_report_sha256) = 32),
  agent_version text not null,
  -- [{collector, args, collected_at, value} or {collector, args, collected_at, error: {code, detail}}]
  facts jsonb not null,
  evidence_sha256 bytea not null check (length(evidence_sha256) = 32),
  -- By the host's clock, but never after its arrival.
  collected_at timestamptz not null,
  received_at timestamptz not null default now(),
  unique (system_id, message_id)
);
create index control_facts_newest on control_facts (system_id, collected_at desc);

create trigger append_only before update or delete on control_facts for each row execute function refuse_change();
create trigger append_only_truncate before truncate on control_facts for each statement execute function refuse_change();

select isolate_tenant(array['control_facts']);
