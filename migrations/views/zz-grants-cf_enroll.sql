-- Enrolment and rotation: makes systems and keys, spends tokens. Reads no reports.
revoke all on all tables in schema public from cf_enroll;
grant select on tenant, flake, environment to cf_enroll;
grant select, insert on system, configuration, request_nonce to cf_enroll;
grant insert on evidence_object, audit_event, audit_pending to cf_enroll;
grant select, insert on system_key to cf_enroll;
grant update (status, revoked_at, revoked_because, rfc9421_used_at) on system_key to cf_enroll;
grant select on enroll_token to cf_enroll;
grant update (used_at, used_by_system_id) on enroll_token to cf_enroll;
