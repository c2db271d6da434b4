-- compatible
-- That it was said that a waiver ends: once for each of these times before it, with the event in the same transaction.
create table waiver_notice (
  tenant_id text not null references tenant,
  waiver_id text not null references waiver,
  days_before integer not null check (days_before in (30, 7, 1)),
  at timestamptz not null default now(),
  primary key (waiver_id, days_before)
);
create trigger append_only before update or delete on waiver_notice for each row execute function refuse_change();
create trigger append_only_truncate before truncate on waiver_notice for each statement execute function refuse_change();

select isolate_tenant(array['waiver_notice']);
