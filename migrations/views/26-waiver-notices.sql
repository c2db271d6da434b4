-- Says which approved waivers of the tenant end within 30, 7 or 1 days. Returns how many times it said so. Each is said once,
-- however many sweeps run and wherever one breaks off; what several were missed of is said as the last of them. Whoever
-- approved a waiver knew its end, so nothing is said of a time that had come before.
create or replace function notify_waivers(most integer) returns integer language plpgsql as $$
declare ending record; done integer := 0;
begin
  for ending in
    select w.id, w.name, w.rules, w.owner, w.author, w.approver, w.expires_at, notice.days
    from waivers_at(now()) w
    cross join lateral (
      select min(days) as days from unnest(array[30, 7, 1]) days where w.expires_at <= now() + make_interval(hours => 24 * days)
    ) notice
    where w.state = 'approved' and w.changed_at < w.expires_at - make_interval(hours => 24 * notice.days)
      and not exists (select from waiver_notice n where n.waiver_id = w.id and n.days_before <= notice.days)
    order by w.expires_at, w.id limit most
  loop
    -- Waits for another sweep that says the same, and does nothing unless that one breaks off.
    insert into waiver_notice (tenant_id, waiver_id, days_before) values (cf_tenant(), ending.id, ending.days) on conflict do nothing;
    if not found then continue; end if;
    perform record_event('waiver.expiring', jsonb_build_object('kind', 'system', 'name', 'sweep'),
      jsonb_build_object('waiver', ending.id, 'name', ending.name, 'rules', to_jsonb(ending.rules), 'owner', ending.owner,
        'author', ending.author, 'approver', ending.approver, 'days_before', ending.days,
        'expires_at', to_char(ending.expires_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')));
    done := done + 1;
  end loop;
  return done;
end $$;
