-- The health route: whether the database answers and, for who presents a token, three counts.
revoke all on all tables in schema public from cf_status;
grant select on api_token, system, derivation, job to cf_status;
