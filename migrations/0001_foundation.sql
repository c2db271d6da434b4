-- compatible
-- Roles, tenants and the two helpers every later table uses.
--
-- One login role per program. In AWS each connects with an IAM token (rds_iam); on one machine one login is a member
-- of them and becomes the program's own. None of them owns a table, so forced row-level security binds them all.
do $$
declare r text;
begin
  foreach r in array array['cf_ingest', 'cf_enroll', 'cf_hooks', 'cf_builders', 'cf_cache', 'cf_operators',
                           'cf_scheduler', 'cf_status', 'cf_dashboards'] loop
    if not exists (select 1 from pg_roles where rolname = r) then
      execute format('create role %I login', r);
    end if;
    if exists (select 1 from pg_roles where rolname = 'rds_iam') then
      execute format('grant rds_iam to %I', r);
    end if;
    execute format('grant usage on schema public to %I', r);
  end loop;
end $$;

-- The tenant of the running transaction; null outside one, and null matches no row.
create function cf_tenant() returns text language sql stable parallel safe
  as $$ select nullif(current_setting('cf.tenant', true), '') $$;

-- What the caller presents to be recognised (a key id, the digest of a token, the id of a hook). Rows of
-- identity tables are visible to whoever names them exactly, so that a caller's tenant can be found before
-- it is known, without a role that may bypass row-level security.
create function cf_lookup() returns text language sql stable parallel safe
  as $$ select nullif(current_setting('cf.lookup', true), '') $$;

-- Time-ordered ids with the noun in front: sys_0199..., so a log line says what it speaks of.
create function new_id(prefix text) returns text language sql volatile
  as $$ select prefix || '_' || replace(uuidv7()::text, '-', '') $$;

create function refuse_change() returns trigger language plpgsql as $$
begin
  raise exception '% is append-only: % refused', tg_table_name, lower(tg_op) using errcode = 'integrity_constraint_violation';
end $$;

-- Every table of a tenant goes through here once, so that none is forgotten: forced row-level security with
-- the tenant of the transaction.
create function isolate_tenant(tables text[]) returns void language plpgsql as $$
declare t text;
begin
  foreach t in array tables loop
    execute format('alter table %I enable row level security', t);
    execute format('alter table %I force row level security', t);
    execute format('create policy tenant on %I using (tenant_id = (select cf_tenant())) with check (tenant_id = (select cf_tenant()))', t);
  end loop;
end $$;

create table tenant (
  id text primary key default new_id('t'),
  tenant_id text generated always as (id) stored,
  name text not null unique check (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
  -- The original's wire is refused after this time, and always while it is null.
  original_wire_until timestamptz,
  created_at timestamptz not null default now()
);

create table environment (
  id text primary key default new_id('env'),
  tenant_id text not null references tenant,
  name text not null check (length(name) between 1 and 64),
  description text not null default '',
  risk_profile text not null default 'MEDIUM',
  compliance_level text not null default 'NONE',
  active boolean not null default true,
  unique (tenant_id, name)
);

select isolate_tenant(array['tenant', 'environment']);

-- Who owns the tables makes tenants, and must find one by its name. Where the owner is no superuser (RDS), forced
-- row-level security binds it as well.
create policy owner on tenant for select to current_user using (true);
