-- compatible
-- A one-time token that nobody has used yet can be taken back. One that was used has done its work: what it made is a key, which
-- is revoked by itself.
alter table enroll_token add column revoked_at timestamptz;
alter table enroll_token add constraint enroll_token_used_or_revoked check (used_at is null or revoked_at is null);
