-- compatible
-- What people say of controls, and waivers with their whole life. Results of controls are no table: they follow from
-- evaluations, control facts, statements and waivers, and are computed for whatever time is asked about.

-- What a person says of one rule on one host, by hand or in a checklist that was imported. Append-only: a newer statement
-- takes the place of an older one.
create table control_evidence (
  id text primary key default new_id('cev'),
  tenant_id text not null references tenant,
  system_id text not null references system,
  rule_id text not null check (rule_id ~ '^V-[0-9]{6}$'),
  source text not null check (source in ('attestation', 'import')),
  holds boolean not null,
  statement text not null check (length(statement) between 1 and 4000),
  -- What ran when it was said; null when the host had never reported.
  toplevel text,
  -- The status of an imported checklist, in its own words; the SHA-256 of the document that is meant.
  claimed_status text,
  document_sha256 bytea check (length(document_sha256) = 32),
  author text not null,
  collected_at timestamptz not null,
  expires_at timestamptz not null,
  recorded_at timestamptz not null default now(),
  check (expires_at > collected_at and expires_at <= collected_at + interval '3650 days')
);
create index control_evidence_newest on control_evidence (system_id, rule_id, collected_at desc);

-- Somebody else accepts or rejects a statement: the last word counts.
create table control_evidence_decision (
  id text primary key default new_id('ced'),
  tenant_id text not null references tenant,
  evidence_id text not null references control_evidence,
  decision text not null check (decision in ('accepted', 'rejected')),
  person text not null,
  reason text not null default '',
  decided_at timestamptz not null default now()
);
create index control_evidence_decision_newest on control_evidence_decision (evidence_id, decided_at desc);

-- The facts of a waiver never change; where it stands is its last transition.
create table waiver (
  id text primary key default new_id('wvr'),
  tenant_id text not null references tenant,
  -- The name by which a configuration speaks of it.
  name text not null check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$'),
  rules text[] not null check (cardinality(rules) between 1 and 200),
  -- {kind: fleet} | {kind: environment, environment} | {kind: hosts, hosts} | {kind: configuration, flake, configuration}
  scope jsonb not null,
  -- Null while a draft came from a configuration, which names no type.
  type text check (type in ('risk_accepted', 'compensating_control', 'false_positive', 'vendor_dependency')),
  justification text not null check (length(justification) between 1 and 4000),
  compensating text not null default '',
  residual_severity text check (residual_severity in ('high', 'medium', 'low')),
  -- What a configuration claims of it: {approvedBy, expires}. Compared, never believed.
  claimed jsonb,
  source text not null check (source in ('operator', 'configuration')),
  owner text,
  milestones jsonb not null default '[]',
  review_at timestamptz,
  author text not null,
  expires_at timestamptz not null,
  -- The one that it takes the place of once it is approved.
  renews text references waiver,
  created_at timestamptz not null default now(),
  unique (tenant_id, name)
);
create index waiver_newest on waiver (tenant_id, id desc);

create table waiver_transition (
  id text primary key default new_id('wvt'),
  tenant_id text not null references tenant,
  waiver_id text not null references waiver,
  -- Counts from 1: two steps from the same state cannot both be taken.
  step integer not null check (step >= 1),
  state text not null check (state in ('draft', 'submitted', 'approved', 'rejected', 'renewed', 'expired', 'revoked')),
  person text not null,
  reason text not null default '',
  -- Who submits may name what the draft left open; it holds from then on.
  type text check (type in ('risk_accepted', 'compensating_control', 'false_positive', 'vendor_dependency')),
  expires_at timestamptz,
  at timestamptz not null default now(),
  unique (waiver_id, step),
  check (state = 'submitted' or (type is null and expires_at is null))
);

-- Neither who wrote a waiver nor who submitted it approves it, and nobody for longer than 365 days, whatever program writes.
create function refuse_own_approval() returns trigger language plpgsql as $$
declare w waiver; submitted waiver_transition;
begin
  if new.state <> 'approved' then return new; end if;
  select * into strict w from waiver where id = new.waiver_id;
  select * into strict submitted from waiver_transition t where t.waiver_id = w.id and t.state = 'submitted' order by t.step desc limit 1;
  if new.person in (w.author, submitted.person) then
    raise exception 'waiver % cannot be approved by who wrote or submitted it', w.id using errcode = 'integrity_constraint_violation';
  end if;
  if coalesce(submitted.expires_at, w.expires_at) > now() + interval '365 days 1 hour' then
    raise exception 'waiver % is longer than 365 days', w.id using errcode = 'integrity_constraint_violation';
  end if;
  return new;
end $$;
create trigger own_approval before insert on waiver_transition for each row execute function refuse_own_approval();

create function refuse_own_acceptance() returns trigger language plpgsql as $$
begin
  if new.decision = 'accepted' and exists (select from control_evidence e where e.id = new.evidence_id and e.author = new.person) then
    raise exception 'statement % cannot be accepted by its author', new.evidence_id using errcode = 'integrity_constraint_violation';
  end if;
  return new;
end $$;
create trigger own_acceptance before insert on control_evidence_decision for each row execute function refuse_own_acceptance();

do $$
declare t text;
begin
  foreach t in array array['control_evidence', 'control_evidence_decision', 'waiver', 'waiver_transition'] loop
    execute format('create trigger append_only before update or delete on %I for each row execute function refuse_change()', t);
    execute format('create trigger append_only_truncate before truncate on %I for each statement execute function refuse_change()', t);
  end loop;
end $$;

select isolate_tenant(array['control_evidence', 'control_evidence_decision', 'waiver', 'waiver_transition']);
