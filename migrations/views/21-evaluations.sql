-- What a resolved branch and an evaluated commit change. Each function is one round trip of a transaction.

-- Newest first, over all flakes; commits of one second in the order of their branch.
create or replace function commit_priority(committed_at timestamptz, place bigint) returns bigint language sql immutable as $$
  select floor(extract(epoch from committed_at))::bigint * 1000 + place % 1000
$$;

-- Moves the current evaluations of a flake's configurations to the newest commits that are on the branch: needed when the
-- branch was rewritten, which is the only way backwards.
create or replace function refresh_configurations(of_flake text) returns void language sql as $$
  update configuration g
  set (latest_position, latest_evaluation_id) = (
        select c.position, e.id from evaluation e join commit c on c.id = e.commit_id
        where e.configuration_id = g.id and c.on_branch order by c.position desc limit 1),
      (desired_position, desired_evaluation_id) = (
        select c.position, e.id from evaluation e join commit c on c.id = e.commit_id
        where e.configuration_id = g.id and c.on_branch and e.state = 'ok' order by c.position desc limit 1)
  where g.flake_id = of_flake
$$;

-- Takes over what a builder found on the branch: `walked` is oldest first ({rev, committed_at, subject}). `base` is
-- the known revision that they follow; what is above it left the branch. Without `continues` everything known left it.
-- The newest `evaluate_most` new commits get a job each; older ones are skipped.
create or replace function record_commits(
  of_flake text, walked jsonb, base text, continues boolean, evaluate_most integer, actor jsonb)
returns table (added integer, queued integer, left_branch integer) language plpgsql as $$
declare
  item jsonb; put commit; top bigint; reactivated integer := 0; fresh text[] := '{}'; was_known boolean;
begin
  perform pg_advisory_xact_lock(hashtextextended('commits of ' || of_flake, 0));
  added := 0;
  update commit c set on_branch = false
  where c.flake_id = of_flake and c.on_branch
    and not exists (select from jsonb_array_elements(walked) f where f ->> 'rev' = c.rev)
    and case when continues then c.position > (select b.position from commit b where b.flake_id = of_flake and b.rev = base)
             else true end;
  get diagnostics left_branch = row_count;
  select coalesce(max(c.position), 0) into top from commit c where c.flake_id = of_flake;
  for item in select value from jsonb_array_elements(walked) with ordinality as f(value, n) order by n loop
    select exists (select from commit c where c.flake_id = of_flake and c.rev = item ->> 'rev' and c.on_branch) into was_known;
    continue when was_known;
    top := top + 1;
    insert into commit (tenant_id, flake_id, rev, position, committed_at, subject)
    values (cf_tenant(), of_flake, item ->> 'rev', top, (item ->> 'committed_at')::timestamptz, item ->> 'subject')
    on conflict (flake_id, rev) do update set position = excluded.position, on_branch = true
    returning * into put;
    if put.evaluated_at is null and put.state in ('pending', 'skipped') then fresh := fresh || put.id; end if;
    if put.discovered_at < now() then
      reactivated := reactivated + 1;
      update configuration_path p set last_position = greatest(p.last_position, top)
      from evaluation e join derivation d on d.id = e.derivation_id
      where e.commit_id = put.id and p.configuration_id = e.configuration_id and p.out_path = d.out_path;
    else
      added := added + 1;
    end if;
    perform record_event('commit.discovered', actor, jsonb_build_object(
      'flake', of_flake, 'commit', put.id, 'rev', put.rev, 'position', top, 'committed_at', item ->> 'committed_at'));
  end loop;
  update commit c set state = 'skipped'
  where c.id = any (fresh[1 : greatest(cardinality(fresh) - evaluate_most, 0)]);
  fresh := fresh[greatest(cardinality(fresh) - evaluate_most, 0) + 1 : cardinality(fresh)];
  update commit c set state = 'pending', error = null where c.id = any (fresh) and c.state <> 'pending';
  perform enqueue_job('evaluate', c.id, jsonb_build_object('flake', of_flake, 'rev', c.rev), commit_priority(c.committed_at, c.position))
  from commit c where c.id = any (fresh) order by c.position desc;
  queued := cardinality(fresh);
  if left_branch > 0 or reactivated > 0 then perform refresh_configurations(of_flake); end if;
  update flake f set resolved_at = now(), last_error = null, next_poll_at = now() + make_interval(secs => f.poll_interval_s)
  where f.id = of_flake;
  return next;
end $$;

-- Queues the build of a derivation that nobody has built, unless it has a verdict already. Configurations that an
-- active system follows come before all others; among these the newest commit first.
create or replace function enqueue_build(of_derivation text) returns void language plpgsql as $$
declare d derivation; wanted_by record;
begin
  select * into strict d from derivation where id = of_derivation for update;
  if not (d.state = 'pending' or (d.state = 'failed' and d.failure_class in ('infra', 'oom', 'timeout', 'cancelled'))) then return; end if;
  select max(commit_priority(c.committed_at, c.position)) as newest,
         bool_or(exists (select from system s where s.configuration_id = e.configuration_id and s.active)) as followed
  into wanted_by
  from evaluation e join commit c on c.id = e.commit_id where e.derivation_id = d.id;
  update derivation set state = 'pending', failure_class = null, error = null where id = d.id and state = 'failed';
  perform enqueue_job('build', d.id, jsonb_build_object('drv_path', d.drv_path, 'system', d.system),
    coalesce(wanted_by.newest, 0) + case when wanted_by.followed then 1000000000000000 else 0 end);
end $$;

-- One configuration of one commit. The first successful evaluation stands: another one that yields another path
-- (Nix versions differ in that) is noted and changes nothing. An error gives way to whatever comes after it.
create or replace function record_evaluation(of_commit text, with_evaluator text, actor jsonb, one jsonb)
returns text language plpgsql as $$
declare
  c commit; config text; d derivation; old evaluation; evaluation_id text; ok boolean := one ->> 'state' = 'ok';
  detail jsonb;
begin
  select * into strict c from commit where id = of_commit;
  insert into configuration (tenant_id, flake_id, name) values (cf_tenant(), c.flake_id, one ->> 'configuration')
  on conflict (flake_id, name) do update set name = excluded.name returning id into config;
  select * into old from evaluation e where e.commit_id = c.id and e.configuration_id = config;
  detail := jsonb_build_object('flake', c.flake_id, 'commit', c.id, 'rev', c.rev, 'configuration', one ->> 'configuration',
    'evaluator', with_evaluator, 'state', one ->> 'state');
  if ok then
    insert into derivation (tenant_id, drv_path, out_path, name, system, export_key)
    values (cf_tenant(), one ->> 'drv_path', one ->> 'out_path', substr(one ->> 'out_path', 45), one ->> 'system', one ->> 'export_key')
    on conflict (tenant_id, drv_path) do update set export_key = coalesce(derivation.export_key, excluded.export_key)
    returning * into d;
    detail := detail || jsonb_build_object('drv_path', one ->> 'drv_path', 'out_path', one ->> 'out_path');
  end if;
  if old.state = 'ok' and not ok then return 'same'; end if;
  if old.state = 'ok' and old.derivation_id = d.id and d.out_path = one ->> 'out_path' then return 'same'; end if;
  if old.state = 'ok' or d.out_path <> one ->> 'out_path' then
    perform record_event('evaluation.recorded', actor, detail || jsonb_build_object('refused', 'evaluator_version', 'stands', old.id));
    return 'evaluator_version';
  end if;
  insert into evaluation (tenant_id, commit_id, configuration_id, state, error_class, error, error_trace, derivation_id,
    agent_assertion, facts, stig_report, evaluator, duration_ms)
  values (cf_tenant(), c.id, config, one ->> 'state', one ->> 'class', one ->> 'message', one ->> 'trace', d.id,
    (one ->> 'agent_assertion')::boolean, coalesce(one -> 'facts', '{}'), one -> 'stig_report', with_evaluator, (one ->> 'duration_ms')::integer)
  on conflict (commit_id, configuration_id) do update
    set state = excluded.state, error_class = excluded.error_class, error = excluded.error, error_trace = excluded.error_trace,
        derivation_id = excluded.derivation_id, agent_assertion = excluded.agent_assertion, facts = excluded.facts,
        stig_report = excluded.stig_report, evaluator = excluded.evaluator, duration_ms = excluded.duration_ms, evaluated_at = now()
  returning id into evaluation_id;
  perform keep_current_evaluation(c, config, evaluation_id, d.out_path);
  if ok then perform enqueue_build(d.id); end if;
  if ok then perform draft_waivers(config, one -> 'stig_report'); end if;
  perform record_event('evaluation.recorded', actor, detail || jsonb_build_object('effect', jsonb_build_object('table', 'evaluation', 'id', evaluation_id)));
  return 'recorded';
end $$;

-- An older commit that is evaluated later never moves a configuration back.
create or replace function keep_current_evaluation(c commit, config text, evaluation_id text, out_path text)
returns void language plpgsql as $$
begin
  if out_path is not null then
    insert into configuration_path (configuration_id, out_path, tenant_id, first_position, last_position)
    values (config, keep_current_evaluation.out_path, cf_tenant(), c.position, c.position)
    on conflict on constraint configuration_path_pkey do update
      set first_position = least(configuration_path.first_position, excluded.first_position),
          last_position = greatest(configuration_path.last_position, excluded.last_position);
  end if;
  if not c.on_branch then return; end if;
  update configuration g set latest_position = c.position, latest_evaluation_id = evaluation_id
  where g.id = config and (g.latest_position is null or g.latest_position <= c.position);
  if out_path is null then return; end if;
  update configuration g set desired_position = c.position, desired_evaluation_id = evaluation_id
  where g.id = config and (g.desired_position is null or g.desired_position <= c.position);
end $$;
