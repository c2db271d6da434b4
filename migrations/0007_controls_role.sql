-- compatible
-- The role of the function that answers about controls. What it may do stands in views/zz-grants-cf_controls.sql.
do $$
begin
  if not exists (select 1 from pg_roles where rolname = 'cf_controls') then
    create role cf_controls login;
  end if;
  if exists (select 1 from pg_roles where rolname = 'rds_iam') then
    grant rds_iam to cf_controls;
  end if;
  grant usage on schema public to cf_controls;
end $$;
