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
