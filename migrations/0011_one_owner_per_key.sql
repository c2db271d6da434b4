-- compatible
-- A key has one owner, be it a host or a builder: who holds one must not speak as the other. Both tables are unique by
-- themselves, and row-level security hides each from the roles of the other one, so this runs as the owner of the tables and
-- names the key that it looks for, in any tenant. Two at once wait for each other.
create function refuse_owned_key() returns trigger language plpgsql security definer set search_path = public as $$
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
end $$;

create trigger one_owner_per_key before insert on system_key for each row execute function refuse_owned_key();
create trigger one_owner_per_key before insert on builder_key for each row execute function refuse_owned_key();
