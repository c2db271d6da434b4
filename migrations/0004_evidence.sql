-- compatible
-- The evidence log: every fact has an event, written in the same transaction. As in other tables that every report adds
-- to, tenant_id is no foreign key: row-level security holds it to the tenant of the transaction.

create table evidence_object (
  tenant_id text not null,
  sha256 bytea not null check (length(sha256) = 32),
  -- The exact signed bytes, as they arrived.
  body bytea not null check (sha256(body) = sha256),
  created_at timestamptz not null default now(),
  primary key (tenant_id, sha256)
);

create table audit_event (
  id text primary key,
  tenant_id text not null,
  type text not null,
  -- RFC 8785 JSON: what is hashed is what is stored.
  body bytea not null check (length(body) <= 65535),
  leaf_hash bytea generated always as (sha256('\x00'::bytea || body)) stored,
  created_at timestamptz not null default now()
);
create index audit_event_newest on audit_event (tenant_id, id desc);

-- Events that the sequencer has not placed yet; written by the statement that writes the event.
create table audit_pending (
  event_id text primary key,
  tenant_id text not null
);

create trigger append_only before update or delete on audit_event for each row execute function refuse_change();
create trigger append_only_truncate before truncate on audit_event for each statement execute function refuse_change();
create trigger append_only before update or delete on evidence_object for each row execute function refuse_change();
create trigger append_only_truncate before truncate on evidence_object for each statement execute function refuse_change();

select isolate_tenant(array['evidence_object', 'audit_event', 'audit_pending']);

-- Writes one event and returns its id. `detail` holds the members that differ by type; the members every
-- event has are set here, so that none can forget them. jsonb prints keys by length, so the canonical form
-- (RFC 8785: sorted by UTF-16 code units, no spaces) is made here; event bodies hold ASCII keys only.
create function canonical_json(value jsonb) returns text language plpgsql immutable parallel safe as $$
begin
  return case jsonb_typeof(value)
    when 'object' then '{' || coalesce((select string_agg(to_json(key)::text || ':' || canonical_json(v), ',' order by key collate "C")
                                       from jsonb_each(value) as e(key, v)), '') || '}'
    when 'array' then '[' || coalesce((select string_agg(canonical_json(v), ',' order by n)
                                      from jsonb_array_elements(value) with ordinality as a(v, n)), '') || ']'
    else value::text
  end;
end $$;

create function record_event(event_type text, actor jsonb, detail jsonb) returns text language plpgsql as $$
declare event_id text := new_id('evt'); at text := to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"');
begin
  insert into audit_event (id, tenant_id, type, body)
  values (event_id, cf_tenant(), event_type, convert_to(canonical_json(
    jsonb_build_object('v', 1, 'id', event_id, 'at', at, 'tenant', cf_tenant(), 'type', event_type, 'actor', actor) || detail), 'UTF8'));
  insert into audit_pending (event_id, tenant_id) values (event_id, cf_tenant());
  return event_id;
end $$;
