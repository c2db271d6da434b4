-- Webhooks: whose they are, and whether a delivery is new.

-- The active hook of an active flake. Names the hook in cf.lookup, which makes exactly its row visible, and then its
-- tenant in cf.tenant; both hold until the end of the transaction, which is the statement when it stands alone.
create or replace function find_hook(wanted text)
returns table (id text, tenant_id text, provider text, secret_sealed bytea, previous_secret_sealed bytea,
               flake_id text, flake_name text, branch text)
language plpgsql volatile as $$
declare found_hook hook;
begin
  perform set_config('cf.lookup', wanted, true);
  select h.* into found_hook from hook h where h.id = wanted and h.active;
  if not found then return; end if;
  perform set_config('cf.tenant', found_hook.tenant_id, true);
  return query select found_hook.id, found_hook.tenant_id, found_hook.provider, found_hook.secret_sealed,
                      found_hook.previous_secret_sealed, f.id, f.name, f.branch
               from flake f where f.id = found_hook.flake_id and f.active;
end $$;

-- Notes a delivery and says whether it is new. The forge repeats a delivery with its id, and several hooks or retries
-- may bring one push with different ids: equal bytes within ten minutes are one push.
create or replace function receive_delivery(of_hook text, delivery text, body_sha bytea, meant text)
returns text language plpgsql as $$
declare same boolean;
begin
  perform pg_advisory_xact_lock(hashtextextended('deliveries of ' || of_hook, 0));
  if exists (select from hook_delivery d where d.hook_id = of_hook and d.delivery_id = delivery) then return 'seen'; end if;
  same := exists (select from hook_delivery d where d.hook_id = of_hook and d.body_sha256 = body_sha
                  and d.received_at > now() - interval '10 minutes' and d.outcome = 'accepted');
  insert into hook_delivery (hook_id, delivery_id, tenant_id, body_sha256, outcome)
  values (of_hook, delivery, cf_tenant(), body_sha, case when same then 'same-body' else meant end);
  return case when same then 'same-body' else 'new' end;
end $$;
