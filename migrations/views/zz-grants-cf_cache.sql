-- The cache: which paths are there, for builders that hold a build.
revoke all on all tables in schema public from cf_cache;
grant select on builder, builder_key, request_nonce, job, store_path, closure to cf_cache;
grant insert on request_nonce, store_path, closure, audit_event, audit_pending to cf_cache;
grant update (reference_ids, published_at, url, compression, file_hash, file_size, signature, builder_id) on store_path to cf_cache;
grant update (last_seen_at) on builder to cf_cache;
grant update (last_seen_at) on builder to cf_cache;
