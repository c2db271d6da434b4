-- The binary cache: which paths are there, and which closures are whole.

-- What of `paths` a builder must still upload. A path whose narinfo was not written yet counts as missing, so that a
-- commit that broke off is made good by the next builder that needs it.
create or replace function missing_paths(paths text[]) returns setof text language sql stable as $$
  select wanted from unnest(paths) with ordinality as w(wanted, n)
  where not exists (select from store_path s where s.tenant_id = cf_tenant() and s.path = wanted and s.published_at is not null)
  order by n
$$;

-- Rows of a batch whose narinfos are about to be written. A published row stays as it is; one whose narinfo was never
-- written takes the file that its next builder uploaded, which holds the same NAR.
create or replace function commit_paths(builder text, batch jsonb) returns integer language plpgsql as $$
declare fresh integer;
begin
  -- One order for all, so that two builders with the same paths wait for each other instead of locking each other out.
  insert into store_path (tenant_id, path, nar_hash, nar_size, reference_ids, deriver, ca, url, compression, file_hash, file_size, signature, builder_id)
  select cf_tenant(), p ->> 'path', p ->> 'nar_hash', (p ->> 'nar_size')::bigint, '{}', p ->> 'deriver', p ->> 'ca', p ->> 'url',
         p ->> 'compression', p ->> 'file_hash', (p ->> 'file_size')::bigint, p ->> 'signature', builder
  from jsonb_array_elements(batch) p order by p ->> 'path'
  on conflict (tenant_id, path) do update
    set url = excluded.url, compression = excluded.compression, file_hash = excluded.file_hash, file_size = excluded.file_size,
        signature = excluded.signature, builder_id = excluded.builder_id
    where store_path.published_at is null and store_path.nar_hash = excluded.nar_hash;
  get diagnostics fresh = row_count;
  update store_path s
  set reference_ids = coalesce((
    select array_agg(r.id order by r.path) from store_path r
    where r.tenant_id = cf_tenant() and r.path in (select jsonb_array_elements_text(p -> 'references'))), '{}')
  from jsonb_array_elements(batch) p
  where s.tenant_id = cf_tenant() and s.path = p ->> 'path' and s.published_at is null;
  return fresh;
end $$;

-- All paths that a path needs, itself included. A reference without a published narinfo is in it with `published` false.
create or replace function closure_paths(toplevel text)
returns table (id bigint, path text, nar_hash text, nar_size bigint, refs text[], published boolean) language sql stable as $$
  with recursive walk (id) as (
    select s.id from store_path s where s.tenant_id = cf_tenant() and s.path = toplevel
    union
    select unnest(s.reference_ids) from walk w join store_path s on s.id = w.id
  )
  select s.id, s.path, s.nar_hash, s.nar_size,
         coalesce((select array_agg(r.path order by r.path collate "C") from store_path r where r.id = any (s.reference_ids)), '{}'),
         s.published_at is not null
  from walk w join store_path s on s.id = w.id
  order by s.path collate "C"
$$;
