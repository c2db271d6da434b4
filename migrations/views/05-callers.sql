-- Who is behind a key. Each function names the key in cf.lookup, which makes exactly its rows visible, and the tenant of
-- the key in cf.tenant; both hold until the end of the transaction, which is the statement when it stands alone. A key
-- whose owner is inactive is revoked. The caller's role needs select on the tables that are read here.

create or replace function find_system_key(wanted text)
returns table (key_id text, tenant_id text, system_id text, hostname text, public_key bytea, status text)
language plpgsql volatile as $$
declare key record;
begin
  perform set_config('cf.lookup', wanted, true);
  select k.* into key from system_key k where k.key_id = wanted;
  if not found then return; end if;
  perform set_config('cf.tenant', key.tenant_id, true);
  return query select key.key_id, key.tenant_id, s.id, s.hostname, key.public_key,
                      case when s.active then key.status else 'revoked' end
               from system s where s.id = key.system_id;
end $$;

create or replace function find_builder_key(wanted text)
returns table (key_id text, tenant_id text, builder_id text, name text, public_key bytea, status text)
language plpgsql volatile as $$
declare key record;
begin
  perform set_config('cf.lookup', wanted, true);
  select k.* into key from builder_key k where k.key_id = wanted;
  if not found then return; end if;
  perform set_config('cf.tenant', key.tenant_id, true);
  return query select key.key_id, key.tenant_id, b.id, b.name, key.public_key,
                      case when b.active then key.status else 'revoked' end
               from builder b where b.id = key.builder_id;
end $$;

-- A one-time token by its key id. Used and expired ones too: what that means is decided under a lock.
create or replace function find_enroll_token(wanted text)
returns table (id text, tenant_id text, key_id text, public_key bytea, hostname_pattern text) language plpgsql volatile as $$
begin
  perform set_config('cf.lookup', wanted, true);
  return query select t.id, t.tenant_id, t.key_id, t.public_key, t.hostname_pattern from enroll_token t where t.key_id = wanted;
end $$;

-- The present key of a rotation to another one. A key that was replaced by exactly that one counts as active once more, so
-- that a host whose answer got lost can ask again.
create or replace function find_key_to_replace(wanted text, replacement text)
returns table (key_id text, tenant_id text, system_id text, hostname text, public_key bytea, status text)
language plpgsql volatile as $$
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
end $$;
