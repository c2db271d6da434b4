-- compatible
-- Row-level security puts the tenant into every query, so an index with tenant_id in it offers itself to every look-up of
-- one row: a session that planned while the table was young read the whole fleet for each report. A hash index can only be
-- used by who asks for a path.
drop index system_current_by_path;
create index system_current_by_path on system_current using hash (current_path);
