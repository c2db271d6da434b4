-- compatible
-- Hosts: who they are, what they report, what they are ordered to run.

create table system (
  id text primary key default new_id('sys'),
  tenant_id text not null references tenant,
  hostname text not null check (hostname ~ '^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$'),
  environment_id text references environment,
  flake_id text references flake,
  configuration_id text references configuration,
  policy text not null default 'manual' check (policy in ('manual', 'auto_latest', 'pinned')),
  desired_target text,
  -- Orders start above this; a rollback is a new order with a higher sequence.
  order_sequence bigint not null default 0,
  active boolean not null default true,
  created_at timestamptz not null default now(),
  deactivated_at timestamptz,
  unique (tenant_id, hostname),
  check ((flake_id is null) = (configuration_id is null))
);
create index system_by_configuration on system (configuration_id);

create table system_key (
  key_id text primary key,
  tenant_id text not null references tenant,
  system_id text not null references system,
  -- Repeated here because the original's wire names a host, not a key.
  hostname text not null,
  public_key bytea not null unique check (length(public_key) = 32),
  status text not null default 'active' check (status in ('active', 'revoked')),
  -- A key may speak the original's wire until this time, and never again once it has used RFC 9421.
  original_wire_until timestamptz,
  rfc9421_used_at timestamptz,
  original_last_timestamp timestamptz,
  created_at timestamptz not null default now(),
  revoked_at timestamptz,
  revoked_because text
);
create index system_key_by_system on system_key (system_id);
create index system_key_by_hostname on system_key (hostname) where original_wire_until is not null;

create table enroll_token (
  id text primary key default new_id('enr'),
  tenant_id text not null references tenant,
  -- The token is an Ed25519 seed that is shown once and never sent; only its public half is kept.
  key_id text not null unique,
  public_key bytea not null check (length(public_key) = 32),
  hostname_pattern text not null check (hostname_pattern ~ '^[A-Za-z0-9.*-]{1,253}$'),
  environment_id text references environment,
  flake_id text references flake,
  created_by text not null,
  expires_at timestamptz not null,
  used_at timestamptz,
  used_by_system_id text references system,
  created_at timestamptz not null default now(),
  check (expires_at <= created_at + interval '24 hours')
);

-- In tables that every report adds to, tenant_id is no foreign key: row-level security already holds it to the tenant of the
-- transaction, and the key would lock that one row for every report.
create table system_state (
  id text primary key default new_id('sta'),
  tenant_id text not null,
  system_id text not null references system,
  report_id text not null,
  digest bytea not null,
  change_reason text not null check (change_reason in ('startup', 'config_change', 'state_delta', 'cf_deployment')),
  current_path text not null,
  booted_path text,
  profile_path text,
  facts jsonb not null,
  -- Which signature scheme carried it: rfc9421, or legacy for the original's wire.
  assurance text not null check (assurance in ('rfc9421', 'legacy')),
  evidence_sha256 bytea not null,
  collected_at timestamptz not null,
  received_at timestamptz not null default now()
);
create index system_state_newest on system_state (system_id, received_at desc);
create index system_state_by_path on system_state (tenant_id, current_path);

-- One row per system, kept by the statement that appends history. No page scans history.
create table system_current (
  system_id text primary key references system,
  tenant_id text not null references tenant,
  state_id text not null,
  digest bytea not null,
  current_path text not null,
  booted_path text,
  profile_path text,
  generation bigint,
  boot_id text,
  revision text,
  -- Null when the host could not ask systemd; empty when none has failed.
  failed_units text[],
  agent_version text,
  nixos_version text,
  kernel text,
  assurance text not null,
  -- Of the newest accepted report by its own clock: late spool entries never move a host back.
  collected_at timestamptz not null,
  state_received_at timestamptz not null,
  heartbeat_at timestamptz,
  seen_at timestamptz not null
) with (fillfactor = 70);
create index system_current_by_path on system_current (tenant_id, current_path);

-- A day of heartbeats of one host is one row: a bit a minute.
create table heartbeat (
  system_id text not null references system,
  day date not null,
  tenant_id text not null references tenant,
  beats integer not null,
  minutes bit varying(1440) not null,
  first_at timestamptz not null,
  last_at timestamptz not null,
  primary key (system_id, day)
) with (fillfactor = 70);

-- A retry carries the same report id and gets the first answer.
create table report_receipt (
  system_id text not null,
  report_id text not null,
  tenant_id text not null,
  kind text not null check (kind in ('state', 'heartbeat')),
  digest bytea not null,
  received_at timestamptz not null default now(),
  primary key (system_id, report_id)
);
create index report_receipt_age on report_receipt (received_at);

-- Replay memory. Partitions are dropped when all of their rows have expired, never deleted row by row.
create table request_nonce (
  key_id text not null,
  nonce text not null,
  tenant_id text not null,
  expires_at timestamptz not null,
  primary key (key_id, nonce, expires_at)
) partition by range (expires_at);
create table request_nonce_other partition of request_nonce default;

-- Makes the hourly partitions from the grace back to `ahead` and drops those that ended before the grace.
create function turn_nonce_partitions(ahead interval default '48 hours', grace interval default '10 minutes')
returns table (created integer, dropped integer) language plpgsql security definer set search_path = public as $$
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
end $$;
select turn_nonce_partitions();

create table deployment (
  id text primary key default new_id('dpl'),
  tenant_id text not null references tenant,
  system_id text not null references system,
  sequence bigint not null,
  toplevel text not null,
  commit_id text references commit,
  state text not null default 'draft' check (state in ('draft', 'awaiting_approval', 'ordered', 'accepted', 'refused', 'confirmed', 'reverted', 'expired', 'cancelled')),
  envelope jsonb,
  reason text,
  created_by text not null,
  created_at timestamptz not null default now(),
  ended_at timestamptz,
  unique (system_id, sequence)
);

create table approval (
  deployment_id text not null references deployment,
  person text not null,
  tenant_id text not null references tenant,
  key_id text not null,
  signature bytea not null,
  approved_at timestamptz not null default now(),
  primary key (deployment_id, person)
);

create table api_token (
  id text primary key default new_id('tok'),
  tenant_id text not null references tenant,
  name text not null check (length(name) between 1 and 100),
  role text not null check (role in ('viewer', 'operator', 'approver', 'admin')),
  -- SHA-256 of the token in hex; the token itself is shown once.
  token_sha256 text not null unique check (token_sha256 ~ '^[0-9a-f]{64}$'),
  created_by text not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  revoked_at timestamptz
);

select isolate_tenant(array['system', 'system_key', 'enroll_token', 'system_state', 'system_current', 'heartbeat',
  'report_receipt', 'request_nonce', 'deployment', 'approval', 'api_token']);
create policy presented on system_key for select using (key_id = (select cf_lookup()) or (original_wire_until is not null and hostname = (select cf_lookup())));
create policy presented on enroll_token for select using (key_id = (select cf_lookup()));
create policy presented on api_token for select using (token_sha256 = (select cf_lookup()));
create policy presented on tenant for select using (id = (select cf_lookup()));
