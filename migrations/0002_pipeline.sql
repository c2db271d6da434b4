-- compatible
-- From a flake to a built closure.

create table flake (
  id text primary key default new_id('flk'),
  tenant_id text not null references tenant,
  name text not null check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
  repository_url text not null,
  -- {kind: forge, via, host, owner, repo, dir?} or {kind: local, path, dir?}: never a free reference.
  source jsonb not null,
  branch text not null default 'main',
  auto_poll boolean not null default true,
  poll_interval_s integer not null default 600 check (poll_interval_s between 10 and 86400),
  initial_commit_depth integer not null default 5 check (initial_commit_depth between 1 and 100),
  next_poll_at timestamptz not null default now(),
  resolved_at timestamptz,
  last_error text,
  active boolean not null default true,
  created_at timestamptz not null default now(),
  unique (tenant_id, name)
);
create index flake_due on flake (next_poll_at) where active and auto_poll;

create table hook (
  id text primary key check (length(id) between 20 and 64),
  tenant_id text not null references tenant,
  flake_id text not null references flake,
  provider text not null check (provider in ('github', 'gitlab', 'gitea', 'forgejo', 'bitbucket')),
  -- Sealed with the control plane's key: a copy of the database alone forges nothing.
  secret_sealed bytea not null,
  previous_secret_sealed bytea,
  active boolean not null default true,
  created_at timestamptz not null default now(),
  unique (flake_id, provider)
);

create table hook_delivery (
  hook_id text not null references hook,
  delivery_id text not null check (length(delivery_id) between 1 and 128),
  tenant_id text not null references tenant,
  body_sha256 bytea not null,
  received_at timestamptz not null default now(),
  outcome text not null,
  primary key (hook_id, delivery_id)
);
create index hook_delivery_recent on hook_delivery (hook_id, body_sha256, received_at);
create index hook_delivery_age on hook_delivery (received_at);

create table commit (
  id text primary key default new_id('cmt'),
  tenant_id text not null references tenant,
  flake_id text not null references flake,
  rev text not null check (rev ~ '^[0-9a-f]{40}$'),
  -- Rank on the watched branch: "commits behind" is a subtraction.
  position bigint not null,
  committed_at timestamptz not null,
  subject text not null default '',
  -- False once the branch was rewritten without it.
  on_branch boolean not null default true,
  state text not null default 'pending' check (state in ('pending', 'evaluating', 'evaluated', 'failed', 'skipped')),
  error text,
  discovered_at timestamptz not null default now(),
  evaluated_at timestamptz,
  unique (flake_id, rev),
  unique (flake_id, position)
);
create index commit_newest on commit (tenant_id, flake_id, position desc);

create table derivation (
  id text primary key default new_id('drv'),
  tenant_id text not null references tenant,
  drv_path text not null,
  out_path text not null,
  name text not null,
  system text not null default 'x86_64-linux',
  -- Object key of the compressed export of the derivation's closure; null: a builder evaluates again.
  export_key text,
  state text not null default 'pending' check (state in ('pending', 'building', 'built', 'cached', 'failed')),
  failure_class text,
  error text,
  attempts integer not null default 0,
  nar_hash text,
  closure_sha256 text,
  built_at timestamptz,
  scan_state text not null default 'unscanned' check (scan_state in ('unscanned', 'scanned', 'no_scanner', 'failed')),
  scanned_at timestamptz,
  created_at timestamptz not null default now(),
  unique (tenant_id, drv_path)
);
create index derivation_out_path on derivation (tenant_id, out_path);

create table configuration (
  id text primary key default new_id('cfg'),
  tenant_id text not null references tenant,
  flake_id text not null references flake,
  name text not null check (length(name) between 1 and 128),
  -- Kept by the evaluation that changes them, read by every list.
  latest_position bigint,
  latest_evaluation_id text,
  desired_position bigint,
  desired_evaluation_id text,
  unique (flake_id, name)
);

create table evaluation (
  id text primary key default new_id('evl'),
  tenant_id text not null references tenant,
  commit_id text not null references commit,
  configuration_id text not null references configuration,
  state text not null check (state in ('ok', 'error')),
  error_class text check (error_class in ('eval', 'timeout', 'infra')),
  error text,
  error_trace text,
  derivation_id text references derivation,
  agent_assertion boolean,
  facts jsonb not null default '{}',
  stig_report jsonb,
  evaluator text not null,
  duration_ms integer not null,
  evaluated_at timestamptz not null default now(),
  unique (commit_id, configuration_id),
  check ((state = 'ok') = (derivation_id is not null))
);
create index evaluation_by_configuration on evaluation (configuration_id, evaluated_at desc);
create index evaluation_by_derivation on evaluation (derivation_id);

-- For which commits a configuration yields a path: what a host runs is attributed by one lookup.
create table configuration_path (
  configuration_id text not null references configuration,
  out_path text not null,
  tenant_id text not null references tenant,
  first_position bigint not null,
  last_position bigint not null,
  primary key (configuration_id, out_path)
);
create index configuration_path_by_path on configuration_path (tenant_id, out_path);

create table builder (
  id text primary key default new_id('bld'),
  tenant_id text not null references tenant,
  name text not null check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
  active boolean not null default true,
  nix_version text,
  systems text[] not null default '{}',
  scanner text,
  isolation text,
  last_seen_at timestamptz,
  created_at timestamptz not null default now(),
  unique (tenant_id, name)
);

create table builder_key (
  key_id text primary key,
  tenant_id text not null references tenant,
  builder_id text not null references builder,
  public_key bytea not null unique check (length(public_key) = 32),
  status text not null default 'active' check (status in ('active', 'revoked')),
  created_at timestamptz not null default now(),
  revoked_at timestamptz
);
create index builder_key_by_builder on builder_key (builder_id);

create sequence job_fence;

create table job (
  id text primary key default new_id('job'),
  tenant_id text not null references tenant,
  kind text not null check (kind in ('resolve', 'evaluate', 'build', 'scan')),
  -- What it is about: a flake, a commit or a derivation. One open job per kind and subject.
  subject text not null,
  state text not null default 'queued' check (state in ('queued', 'leased', 'succeeded', 'failed', 'cancelled')),
  attempt integer not null default 1 check (attempt >= 1),
  -- Taken from one sequence at every claim: a result that carries an older one is refused.
  fence bigint,
  builder_id text references builder,
  lease_until timestamptz,
  priority bigint not null default 0,
  not_before timestamptz not null default now(),
  payload jsonb not null,
  progress jsonb,
  failure_class text check (failure_class in ('infra', 'oom', 'timeout', 'build', 'eval', 'hash_mismatch', 'cancelled')),
  failure_message text,
  log_tail text,
  attestation jsonb,
  created_at timestamptz not null default now(),
  hinted_at timestamptz,
  started_at timestamptz,
  finished_at timestamptz,
  check ((state = 'leased') = (lease_until is not null))
);
create unique index job_open on job (tenant_id, kind, subject) where state in ('queued', 'leased');
create index job_claim on job (tenant_id, kind, priority desc, id) where state = 'queued';
create index job_expired on job (lease_until) where state = 'leased';
create index job_unhinted on job (coalesce(hinted_at, created_at)) where state = 'queued';
create index job_newest on job (tenant_id, id desc);

create table job_attempt (
  job_id text not null references job,
  attempt integer not null,
  fence bigint not null,
  tenant_id text not null references tenant,
  builder_id text not null references builder,
  started_at timestamptz not null,
  ended_at timestamptz,
  -- 'late' is a result that came after its lease was lost: recorded, without effect.
  outcome text not null check (outcome in ('running', 'succeeded', 'failed', 'expired', 'late')),
  failure_class text,
  message text,
  -- What the builder was told: the same result sent again gets it again.
  answer jsonb,
  primary key (job_id, fence, outcome)
);

-- A state change and its message are one transaction; the relay publishes afterwards.
create table outbox (
  id bigint generated always as identity primary key,
  tenant_id text not null references tenant,
  queue text not null check (queue in ('resolve', 'evaluate', 'build', 'scan')),
  body jsonb not null,
  not_before timestamptz not null default now(),
  created_at timestamptz not null default now()
);

create table store_path (
  id bigint generated always as identity primary key,
  tenant_id text not null references tenant,
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
  builder_id text not null references builder,
  committed_at timestamptz not null default now(),
  -- Null until the narinfo object was written: published last, never before its references.
  published_at timestamptz,
  unique (tenant_id, path)
);
create index store_path_unpublished on store_path (tenant_id, id) where published_at is null;

create table closure (
  tenant_id text not null references tenant,
  toplevel text not null,
  path_ids bigint[] not null,
  nar_size bigint not null,
  -- SHA-256 over the sorted lines "<path> <narHash> <narSize> <refs,>".
  sha256 text not null,
  created_at timestamptz not null default now(),
  primary key (tenant_id, toplevel)
);

create table cve (
  tenant_id text not null references tenant,
  id text not null check (id ~ '^[A-Z]+-[0-9A-Za-z-]{4,40}$'),
  cvss3 numeric(3, 1),
  description text,
  first_seen_at timestamptz not null default now(),
  primary key (tenant_id, id)
);

create table scan (
  id text primary key default new_id('scn'),
  tenant_id text not null references tenant,
  derivation_id text not null references derivation,
  out_path text not null,
  job_id text not null references job,
  outcome text not null check (outcome in ('scanned', 'no_scanner', 'failed')),
  scanner text,
  message text,
  scanned_at timestamptz not null default now()
);
create index scan_newest on scan (tenant_id, out_path, scanned_at desc);

create table finding (
  id text primary key default new_id('fnd'),
  tenant_id text not null references tenant,
  scan_id text not null references scan,
  out_path text not null,
  cve_id text not null,
  package text not null,
  version text not null,
  derivation text,
  whitelisted boolean not null default false,
  found_at timestamptz not null default now(),
  foreign key (tenant_id, cve_id) references cve (tenant_id, id)
);
create index finding_by_path on finding (tenant_id, out_path);
create index finding_by_cve on finding (tenant_id, cve_id);

select isolate_tenant(array['flake', 'hook', 'hook_delivery', 'commit', 'derivation', 'configuration', 'evaluation',
  'configuration_path', 'builder', 'builder_key', 'job', 'job_attempt', 'outbox', 'store_path', 'closure', 'cve', 'scan',
  'finding']);
create policy presented on hook for select using (id = (select cf_lookup()));
create policy presented on builder_key for select using (key_id = (select cf_lookup()));
