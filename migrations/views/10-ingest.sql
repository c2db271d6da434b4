-- Reports of hosts: replay memory, history, current state and evidence move together, in one statement for a whole batch.

-- Records reports of one tenant, each of a different system. A report is a JSON object
--   {key, system, hostname, nonce, expires_at, report_id, digest, collected_at, received_at, assurance, kind, event_id, state}
-- where kind is `state`, `heartbeat`, or `either` (the original's wire: a heartbeat that differs is a state), and state
-- holds the columns of a state or is null. bodies[n] are its exact bytes and events[n] the body of its audit event; both are
-- kept for states only.
-- Outcomes: `refused` (key or system is no longer active, or names another host), `replayed` (the nonce was spent),
-- `state_required` (a heartbeat of a state that is not the current one), `duplicate` (the report id was recorded before),
-- `recorded`. received_at is the time of the first arrival. What is refused leaves nothing behind, not even its nonce.
-- Every statement touches systems in their order, so two batches never wait for each other in a circle.
--
-- Values are taken out of the JSON by the function that makes the rows, never by an expression in a join: an operator
-- such as ->> is not leakproof, and row-level security would keep the planner from using an index for it. A batch is
-- small and the tables are not, whatever the planner believed of them when it made the plan: the lateral subqueries
-- (`offset 0` keeps them apart) and the settings make it look rows up by their keys.
create or replace function ingest_reports(tenant text, reports jsonb, bodies bytea[], events bytea[])
returns table (n integer, outcome text, kind text, received_at timestamptz) language plpgsql
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  known integer[]; fresh integer[]; states integer[]; beats integer[]; first_use text[];
begin
  perform set_config('cf.tenant', tenant, true);
  if (select count(*) <> count(distinct r.system) from jsonb_to_recordset(reports) as r(system text)) then
    raise exception 'a batch holds one report a system' using errcode = 'invalid_parameter_value';
  end if;

  with report as (
    select * from rows from (jsonb_to_recordset(reports) as (
      key text, system text, hostname text, nonce text, expires_at timestamptz, assurance text
    )) with ordinality as r(key_id, system_id, hostname, nonce, expires_at, assurance, n)
  ), caller as materialized (
    select r.n::integer as n, r.key_id, r.nonce, r.expires_at,
           case when k.rfc9421_used_at is null and r.assurance = 'rfc9421' then r.key_id end as first_use
    from report r
    cross join lateral (select * from system_key k where k.key_id = r.key_id offset 0) k
    cross join lateral (select * from system s where s.id = r.system_id offset 0) s
    where k.system_id = r.system_id and k.status = 'active' and s.hostname = r.hostname and s.active
  ), spent as (
    insert into request_nonce (key_id, nonce, tenant_id, expires_at)
    select c.key_id, c.nonce, tenant, c.expires_at from caller c order by c.key_id
    on conflict do nothing
    returning request_nonce.key_id
  )
  select array_agg(c.n), array_agg(c.n) filter (where s.key_id is not null),
         array_agg(c.first_use) filter (where s.key_id is not null and c.first_use is not null)
  into known, fresh, first_use
  from caller c left join spent s on s.key_id = c.key_id;

  if first_use is not null then
    update system_key k set rfc9421_used_at = now() where k.key_id = any (first_use);
  end if;

  with report as materialized (
    select r.n::integer as n, r.system_id, r.report_id, r.kind, decode(r.digest, 'hex') as digest, r.received_at
    from rows from (jsonb_to_recordset(reports) as (
      system text, report_id text, kind text, digest text, received_at timestamptz
    )) with ordinality as r(system_id, report_id, kind, digest, received_at, n)
    where r.n = any (fresh)
  ), receipt as (
    insert into report_receipt (system_id, report_id, tenant_id, kind, digest, received_at)
    select r.system_id, r.report_id, tenant,
           case when r.kind = 'state' or c.digest is distinct from r.digest then 'state' else 'heartbeat' end,
           r.digest, r.received_at
    from report r left join lateral (select c.digest from system_current c where c.system_id = r.system_id offset 0) c on true
    where r.kind <> 'heartbeat' or c.digest = r.digest
    order by r.system_id
    on conflict do nothing
    returning report_receipt.system_id, report_receipt.kind
  )
  select array_agg(r.n) filter (where i.kind = 'state'), array_agg(r.n) filter (where i.kind = 'heartbeat')
  into states, beats
  from report r join receipt i on i.system_id = r.system_id;

  if states is not null then perform record_states(tenant, reports, bodies, events, states); end if;
  if beats is not null then perform record_heartbeats(tenant, reports, beats); end if;

  if coalesce(cardinality(states), 0) + coalesce(cardinality(beats), 0) = jsonb_array_length(reports) then
    return query
    select r.n::integer, 'recorded', case when r.n = any (states) then 'state' else 'heartbeat' end, r.received_at
    from rows from (jsonb_to_recordset(reports) as (received_at timestamptz)) with ordinality as r(received_at, n);
    return;
  end if;

  return query
  select r.n::integer,
         case when not coalesce(r.n = any (known), false) then 'refused'
              when not coalesce(r.n = any (fresh), false) then 'replayed'
              when r.n = any (states) or r.n = any (beats) then 'recorded'
              when f.report_id is null then 'state_required'
              else 'duplicate' end,
         coalesce(f.kind, 'state'),
         coalesce(f.received_at, r.received_at)
  from rows from (jsonb_to_recordset(reports) as (system text, report_id text, received_at timestamptz))
         with ordinality as r(system_id, report_id, received_at, n)
  left join lateral (
    select f.* from report_receipt f where f.system_id = r.system_id and f.report_id = r.report_id offset 0
  ) f on true
  order by r.n;
end $$;

-- The same for a caller with many reports: bytes holds body and event of each, one behind the other, and lengths how long
-- they are (both 0 for a heartbeat). One byte string travels as it is; an array of them would travel as text, in hexadecimal.
create or replace function ingest_packed_reports(tenant text, reports jsonb, bytes bytea, lengths integer[])
returns table (n integer, outcome text, kind text, received_at timestamptz) language plpgsql as $$
declare bodies bytea[]; events bytea[]; first integer := 1;
begin
  for at in 1 .. cardinality(lengths) / 2 loop
    bodies[at] := substring(bytes from first for lengths[2 * at - 1]);
    first := first + lengths[2 * at - 1];
    events[at] := substring(bytes from first for lengths[2 * at]);
    first := first + lengths[2 * at];
  end loop;
  return query select * from ingest_reports(tenant, reports, bodies, events);
end $$;

-- The states of a batch: evidence, history, event and the current row.
create or replace function record_states(tenant text, reports jsonb, bodies bytea[], events bytea[], chosen integer[])
returns void language plpgsql as $$
declare moved text[];
begin
  with report as materialized (
    select r.event_id, r.body, r.event
    from rows from (jsonb_to_recordset(reports) as (system text, event_id text), unnest(bodies), unnest(events))
           with ordinality as r(system_id, event_id, body, event, n)
    where r.n = any (chosen) order by r.system_id
  ), evidence as (
    insert into evidence_object (tenant_id, sha256, body)
    select tenant, sha256(r.body), r.body from report r
    on conflict do nothing
  ), event as (
    insert into audit_event (id, tenant_id, type, body) select r.event_id, tenant, 'agent.report', r.event from report r
  )
  insert into audit_pending (event_id, tenant_id) select r.event_id, tenant from report r;

  with report as materialized (
    select r.system_id, r.report_id, r.assurance, decode(r.digest, 'hex') as digest, r.collected_at, r.received_at,
           sha256(r.body) as evidence, s.*
    from rows from (jsonb_to_recordset(reports) as (
           system text, report_id text, assurance text, digest text, collected_at timestamptz, received_at timestamptz,
           state jsonb), unnest(bodies))
           with ordinality as r(system_id, report_id, assurance, digest, collected_at, received_at, state, body, n),
         jsonb_to_record(r.state) as s(
           id text, change_reason text, current_path text, booted_path text, profile_path text, generation bigint,
           boot_id text, revision text, failed_units text[], agent_version text, nixos_version text, kernel text, facts jsonb)
    where r.n = any (chosen)
    order by r.system_id
  ), history as (
    insert into system_state (id, tenant_id, system_id, report_id, digest, change_reason, current_path, booted_path,
                              profile_path, facts, assurance, evidence_sha256, collected_at, received_at)
    select r.id, tenant, r.system_id, r.report_id, r.digest, r.change_reason, r.current_path, r.booted_path,
           r.profile_path, r.facts, r.assurance, r.evidence, r.collected_at, r.received_at
    from report r
  ), current as (
    insert into system_current as c (system_id, tenant_id, state_id, digest, current_path, booted_path, profile_path,
      generation, boot_id, revision, failed_units, agent_version, nixos_version, kernel, assurance, collected_at,
      state_received_at, seen_at)
    select r.system_id, tenant, r.id, r.digest, r.current_path, r.booted_path, r.profile_path, r.generation, r.boot_id,
           r.revision, r.failed_units, r.agent_version, r.nixos_version, r.kernel, r.assurance,
           r.collected_at, r.received_at, r.received_at
    from report r
    on conflict (system_id) do update set
      state_id = excluded.state_id, digest = excluded.digest, current_path = excluded.current_path,
      booted_path = excluded.booted_path, profile_path = excluded.profile_path, generation = excluded.generation,
      boot_id = excluded.boot_id, revision = excluded.revision, failed_units = excluded.failed_units,
      agent_version = excluded.agent_version, nixos_version = excluded.nixos_version, kernel = excluded.kernel,
      assurance = excluded.assurance, collected_at = excluded.collected_at,
      state_received_at = excluded.state_received_at, seen_at = greatest(c.seen_at, excluded.seen_at)
    -- A state that was collected earlier and arrives late is history only.
    where excluded.collected_at >= c.collected_at
    returning c.system_id
  )
  select array_agg(c.system_id) into moved from current c;

  if coalesce(cardinality(moved), 0) < cardinality(chosen) then
    with late as materialized (
      select r.system_id, r.received_at
      from rows from (jsonb_to_recordset(reports) as (system text, received_at timestamptz))
             with ordinality as r(system_id, received_at, n)
      where r.n = any (chosen) and not r.system_id = any (coalesce(moved, '{}'))
    )
    update system_current c set seen_at = greatest(c.seen_at, r.received_at)
    from late r where c.system_id = r.system_id;
  end if;
end $$;

-- The heartbeats of a batch: the time of the last one, and a bit of the day for its minute (UTC).
create or replace function record_heartbeats(tenant text, reports jsonb, chosen integer[]) returns void language plpgsql as $$
begin
  with beat as materialized (
    select r.system_id, r.at
    from rows from (jsonb_to_recordset(reports) as (system text, received_at timestamptz))
           with ordinality as r(system_id, at, n)
    where r.n = any (chosen) order by r.system_id
  ), seen as (
    update system_current c set heartbeat_at = greatest(c.heartbeat_at, b.at), seen_at = greatest(c.seen_at, b.at)
    from beat b where c.system_id = b.system_id
  )
  insert into heartbeat as h (system_id, day, tenant_id, beats, minutes, first_at, last_at)
  select b.system_id, (b.at at time zone 'UTC')::date, tenant, 1,
         set_bit(repeat('0', 1440)::bit(1440), minute_of_day(b.at), 1), b.at, b.at
  from beat b
  on conflict (system_id, day) do update set
    beats = h.beats + 1, minutes = set_bit(h.minutes, minute_of_day(excluded.last_at), 1),
    first_at = least(h.first_at, excluded.first_at), last_at = greatest(h.last_at, excluded.last_at);
end $$;

create or replace function minute_of_day(at timestamptz) returns integer language sql immutable parallel safe as $$
  select (extract(hour from at at time zone 'UTC') * 60 + extract(minute from at at time zone 'UTC'))::integer
$$;

-- The keys that may speak the original's wire for a host name, in any tenant, with what decides whether they still may.
-- Leaves cf.lookup and cf.tenant set, as find_system_key does.
create or replace function find_original_keys(wanted text, most integer)
returns table (key_id text, tenant_id text, system_id text, hostname text, public_key bytea, status text,
               key_until timestamptz, tenant_until timestamptz, rfc9421_used_at timestamptz, last_micros bigint,
               desired_target text)
language plpgsql volatile as $$
declare key record;
begin
  perform set_config('cf.lookup', wanted, true), set_config('cf.tenant', '', true);
  for key in select k.* from system_key k
             where k.hostname = wanted and k.original_wire_until is not null
             order by k.status, k.created_at desc limit most
  loop
    perform set_config('cf.tenant', key.tenant_id, true);
    return query select key.key_id, key.tenant_id, s.id, s.hostname, key.public_key,
                        case when s.active then key.status else 'revoked' end,
                        key.original_wire_until, t.original_wire_until, key.rfc9421_used_at,
                        (extract(epoch from key.original_last_timestamp) * 1000000)::bigint, s.desired_target
                 from system s join tenant t on t.id = s.tenant_id where s.id = key.system_id;
  end loop;
end $$;

-- One report over the original's wire: its time must lie after that of the last accepted one, whatever the route, and the
-- key must still be allowed this wire. `stale` is the outcome otherwise.
create or replace function ingest_original_report(tenant text, report jsonb, body bytea, event bytea, stamped_micros bigint)
returns table (outcome text, kind text, received_at timestamptz) language plpgsql as $$
declare stamped timestamptz := 'epoch'::timestamptz + stamped_micros * interval '1 microsecond';
begin
  perform set_config('cf.tenant', tenant, true);
  update system_key k set original_last_timestamp = stamped
  where k.key_id = report ->> 'key' and k.status = 'active' and k.rfc9421_used_at is null
    and k.original_wire_until > (report ->> 'received_at')::timestamptz
    and exists (select from system s where s.id = k.system_id and s.active)
    and exists (select from tenant t where t.id = tenant and t.original_wire_until > (report ->> 'received_at')::timestamptz)
    and (k.original_last_timestamp is null or k.original_last_timestamp < stamped);
  if not found then
    return query select 'stale', 'heartbeat', (report ->> 'received_at')::timestamptz;
    return;
  end if;
  return query select i.outcome, i.kind, i.received_at
               from ingest_reports(tenant, jsonb_build_array(report), array[body], array[event]) i;
end $$;
