-- The controls API: judges from evidence that it cannot write, and adds what people say. It declares nothing and starts no work.
revoke all on all tables in schema public from cf_controls;
grant select on
  environment, flake, commit, commit_list, configuration, derivation, evaluation, system, system_state, control_facts, api_token,
  waiver, waiver_transition, waiver_notice, control_evidence, control_evidence_decision
to cf_controls;
grant insert on waiver, waiver_transition, control_evidence, control_evidence_decision, audit_event, audit_pending to cf_controls;
