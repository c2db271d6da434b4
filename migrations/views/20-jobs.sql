-- Jobs: every change of state is one statement, and writes the message about it into the outbox.

-- Puts a job in the queue, or finds the open one about the same thing. An open `resolve` job that is already
-- leased may have looked at the branch before this push: it is marked, and queued again when it ends.
create or replace function enqueue_job(kind text, subject text, payload jsonb, priority bigint)
returns table (job_id text, fresh boolean) language sql as $$
  with put as (
    insert into job (tenant_id, kind, subject, payload, priority)
    values (cf_tenant(), enqueue_job.kind, enqueue_job.subject, enqueue_job.payload, enqueue_job.priority)
    on conflict (tenant_id, kind, subject) where state in ('queued', 'leased') do update
      set priority = greatest(job.priority, excluded.priority),
          not_before = case when job.kind = 'resolve' then least(job.not_before, now()) else job.not_before end,
          payload = case when job.kind <> 'resolve' then job.payload
                         when job.state = 'leased' then job.payload || excluded.payload || '{"again": true}'
                         else job.payload || excluded.payload end
    returning id, job.kind, attempt, not_before, job.state, xmax = 0 as fresh
  ), hint as (
    insert into outbox (tenant_id, queue, body, not_before)
    select cf_tenant(), put.kind, job_hint(put.id, put.kind, put.attempt), put.not_before
    from put where put.fresh or (put.kind = 'resolve' and put.state = 'queued')
  )
  select put.id, put.fresh from put
$$;

-- The SQS message: says which job to ask for, and nothing that could be acted on without asking.
create or replace function job_hint(job text, kind text, attempt integer) returns jsonb language sql immutable as $$
  select jsonb_build_object('v', 1, 'job', job, 'kind', kind, 'attempt', attempt)
$$;

-- Whether a job waits for a builder like this one: it is due, of a kind that was asked for, and for its kind of machine.
create or replace function can_claim(j job, builder text, kinds text[], wanted_attempt integer) returns boolean language sql stable as $$
  select j.tenant_id = cf_tenant() and j.state = 'queued' and j.kind = any (kinds) and j.not_before <= now()
    and (wanted_attempt is null or j.attempt = wanted_attempt)
    and (not j.payload ? 'system' or j.payload ->> 'system' in ('builtin', 'unknown')
         or exists (select from builder b where b.id = can_claim.builder and j.payload ->> 'system' = any (b.systems)))
$$;

-- Gives a queued job to a builder: the one it names (compare-and-swap on state and attempt), or the best of the
-- kinds that its machine can do. One statement, so of two that ask at once one gets it. The fence comes from one
-- sequence: whoever holds the highest for a job holds the job.
create or replace function claim_job(builder text, kinds text[], wanted text, wanted_attempt integer, lease interval)
returns table (job_id text, kind text, subject text, attempt integer, fence bigint, payload jsonb) language sql as $$
  with named as (
    -- Waits for whoever holds the row: the relay does for a moment after it sent the very hint that is followed here.
    select j.id, j.attempt from job j
    where j.id = wanted and can_claim(j, claim_job.builder, kinds, wanted_attempt)
    for update
  ), best as (
    select j.id, j.attempt from job j
    where wanted is null and j.tenant_id = cf_tenant() and j.state = 'queued' and j.kind = any (kinds)
      and can_claim(j, claim_job.builder, kinds, wanted_attempt)
    order by j.priority desc, j.id
    limit 1
    for update skip locked
  ), candidate as (
    select * from named union all select * from best
  ), claimed as (
    update job j
    set state = 'leased', fence = nextval('job_fence'), builder_id = claim_job.builder, lease_until = now() + lease,
        started_at = now(), progress = null
    from candidate c
    where j.id = c.id and j.state = 'queued' and j.attempt = c.attempt
    returning j.id, j.kind, j.subject, j.attempt, j.fence, j.payload
  ), attempted as (
    insert into job_attempt (job_id, attempt, fence, tenant_id, builder_id, started_at, outcome)
    select c.id, c.attempt, c.fence, cf_tenant(), claim_job.builder, now(), 'running' from claimed c
  )
  select c.id, c.kind, c.subject, c.attempt, c.fence, c.payload from claimed c
$$;

-- Back into the queue for another attempt. The old fence stays in the row, so its holder is refused from now on.
create or replace function requeue_job(job text, class text, message text, log_tail text, pause interval, more jsonb)
returns void language sql as $$
  with put as (
    update job j
    set state = 'queued', attempt = j.attempt + 1, builder_id = null, lease_until = null, not_before = now() + pause,
        failure_class = class, failure_message = message, log_tail = coalesce(requeue_job.log_tail, j.log_tail),
        payload = (j.payload - 'again') || more, hinted_at = null, progress = null
    where j.id = requeue_job.job and j.state = 'leased'
    returning j.id, j.kind, j.attempt, j.not_before
  )
  insert into outbox (tenant_id, queue, body, not_before)
  select cf_tenant(), put.kind, job_hint(put.id, put.kind, put.attempt), put.not_before from put
$$;
