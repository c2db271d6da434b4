-- Waivers and statements as they stood at any time, and what time and configurations do to waivers.

-- Every waiver that existed at a time, where it stood then, and who decided. Approved ones whose time is over are expired
-- whether or not that was written down.
-- Dropped first: what a function returns cannot be replaced.
drop function if exists waivers_at(timestamptz);
create function waivers_at(moment timestamptz)
returns table (id text, name text, rules text[], scope jsonb, type text, justification text, compensating text,
               residual_severity text, claimed jsonb, source text, owner text, milestones jsonb, review_at timestamptz,
               author text, submitter text, approver text, state text, step integer, expires_at timestamptz,
               renews text, created_at timestamptz, changed_at timestamptz, author_subject text, submitter_subject text, approver_subject text)
language sql stable as $$
  select w.id, w.name, w.rules, w.scope, coalesce(submitted.type, w.type), w.justification, w.compensating, w.residual_severity,
         w.claimed, w.source, w.owner, w.milestones, w.review_at, w.author, submitted.person, approved.person,
         case when last.state = 'approved' and coalesce(submitted.expires_at, w.expires_at) <= moment then 'expired' else last.state end,
         last.step, coalesce(submitted.expires_at, w.expires_at), w.renews, w.created_at, last.at,
         w.author_subject, submitted.subject, approved.subject
  from waiver w
  join lateral (select * from waiver_transition t where t.waiver_id = w.id and t.at <= moment order by t.step desc limit 1) last on true
  left join lateral (select * from waiver_transition t where t.waiver_id = w.id and t.at <= moment and t.state = 'submitted'
                     order by t.step desc limit 1) submitted on true
  left join lateral (select * from waiver_transition t where t.waiver_id = w.id and t.at <= moment and t.state = 'approved'
                     order by t.step desc limit 1) approved on true
$$;

-- Justifications that stand only in a configuration arrive as drafts: rules of one reason are one draft. What already has
-- its name stays as it is, so an approved waiver is never touched by what a configuration claims.
create or replace function draft_waivers(of_configuration text, report jsonb) returns integer language plpgsql as $$
declare config record; drafted record; made integer := 0; waiver_id text; written_by text;
begin
  if jsonb_typeof(report -> 'rules') is distinct from 'object' then return 0; end if;
  select c.name, f.name as flake into strict config from configuration c join flake f on f.id = c.flake_id where c.id = of_configuration;
  written_by := 'configuration ' || config.flake || '#' || config.name;
  for drafted in
    with justified as (
      select r.key as rule, r.value -> 'waiver' as claim,
             coalesce(r.value #>> '{waiver,justification}',
                      (select string_agg(j, E'\n') from jsonb_array_elements_text(r.value -> 'justification') j), '') as reason
      from jsonb_each(report -> 'rules') r
      where r.value ->> 'state' = 'justified' and r.key ~ '^V-[0-9]{6}$'
    ), named as (
      select coalesce(case when j.claim ->> 'id' ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$' then j.claim ->> 'id' end,
                      'configuration-' || substr(encode(sha256(convert_to(of_configuration || E'\n' || j.reason, 'UTF8')), 'hex'), 1, 16)) as name, j.*
      from justified j where j.reason <> ''
    )
    select n.name, array_agg(n.rule order by n.rule) as rules, left(min(n.reason), 4000) as reason,
           (array_agg(n.claim order by n.rule))[1] as claim
    from named n group by n.name order by n.name
  loop
    insert into waiver (tenant_id, name, rules, scope, justification, claimed, source, author, expires_at)
    values (cf_tenant(), drafted.name, drafted.rules,
            jsonb_build_object('kind', 'configuration', 'flake', config.flake, 'configuration', config.name),
            drafted.reason,
            case when jsonb_typeof(drafted.claim) = 'object' then jsonb_build_object(
              'approvedBy', left(drafted.claim ->> 'approvedBy', 200), 'expires', left(drafted.claim ->> 'expires', 40)) end,
            'configuration', written_by, now() + interval '90 days')
    on conflict (tenant_id, name) do nothing
    returning id into waiver_id;
    if waiver_id is null then continue; end if;
    insert into waiver_transition (tenant_id, waiver_id, step, state, person, reason)
    values (cf_tenant(), waiver_id, 1, 'draft', written_by, 'a configuration leaves these rules out');
    perform record_event('waiver.drafted', jsonb_build_object('kind', 'system', 'name', written_by),
      jsonb_build_object('waiver', waiver_id, 'name', drafted.name, 'rules', to_jsonb(drafted.rules)));
    made := made + 1;
  end loop;
  return made;
end $$;

-- Writes down which approved waivers of the tenant ended. Returns how many.
create or replace function expire_waivers(most integer) returns integer language plpgsql as $$
declare over record; done integer := 0;
begin
  for over in
    select w.id, w.name, w.rules, w.step, w.expires_at from waivers_at(now()) w
    where w.state = 'expired' and exists (select from waiver_transition t where t.waiver_id = w.id and t.step = w.step and t.state = 'approved')
    order by w.expires_at, w.id limit most
  loop
    insert into waiver_transition (tenant_id, waiver_id, step, state, person, reason)
    values (cf_tenant(), over.id, over.step + 1, 'expired', 'the clock', 'its time is over')
    on conflict do nothing;
    if not found then continue; end if;
    perform record_event('waiver.expired', jsonb_build_object('kind', 'system', 'name', 'sweep'),
      jsonb_build_object('waiver', over.id, 'name', over.name, 'rules', to_jsonb(over.rules)));
    done := done + 1;
  end loop;
  return done;
end $$;

-- The newest statement of every person about every rule of the chosen hosts that had been made by a time, with the last
-- word of somebody else about it. Rejected ones are none.
drop function if exists statements_at(text[], timestamptz);
create function statements_at(hosts text[], moment timestamptz)
returns table (id text, system_id text, rule_id text, source text, holds boolean, statement text, claimed_status text,
               author text, approver text, collected_at timestamptz, expires_at timestamptz, author_subject text, approver_subject text)
language sql stable as $$
  select e.id, e.system_id, e.rule_id, e.source, e.holds, e.statement, e.claimed_status, e.author,
         case when d.decision = 'accepted' then d.person end, e.collected_at, e.expires_at, e.author_subject,
         case when d.decision = 'accepted' then d.subject end
  from (
    select distinct on (e.system_id, e.rule_id, coalesce(e.author_subject, e.author)) e.* from control_evidence e
    where e.system_id = any (hosts) and e.recorded_at <= moment and e.collected_at <= moment
    order by e.system_id, e.rule_id, coalesce(e.author_subject, e.author), e.collected_at desc, e.id desc
  ) e
  left join lateral (select * from control_evidence_decision d where d.evidence_id = e.id and d.decided_at <= moment
                     order by d.decided_at desc, d.id desc limit 1) d on true
  where d.decision is distinct from 'rejected'
$$;

-- What the chosen hosts ran at a time: the state that was collected last.
create or replace function running_at(hosts text[], moment timestamptz)
returns table (system_id text, current_path text, booted_path text, facts jsonb, collected_at timestamptz)
language sql stable as $$
  select s.system_id, s.current_path, s.booted_path, s.facts, s.collected_at
  from unnest(hosts) h(id)
  join lateral (
    -- A spool arrives in its order, so the last to be collected is among the last that arrived.
    select * from (select * from system_state s where s.system_id = h.id and s.received_at <= moment order by s.received_at desc limit 64) s
    where s.collected_at <= moment order by s.collected_at desc, s.received_at desc limit 1
  ) s on true
$$;
