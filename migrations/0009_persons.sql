-- compatible
-- Who somebody is, beside what their token is called: whoever has two tokens, or one by a new name, is one person still.
-- A subject is the `iss` and `sub` of a JWT (iss#sub), what an administrator says of a token, or token:<id> where nobody said.
-- It is null in rows from before, of which only the name is known.

alter table api_token add column subject text check (length(subject) between 1 and 600);
alter table waiver add column author_subject text;
alter table waiver_transition add column subject text;
alter table control_evidence add column author_subject text;
alter table control_evidence_decision add column subject text;

-- By their subjects; where one of them is not known or only names a token, by their names as well.
create function same_person(subject text, name text, other_subject text, other_name text) returns boolean
language sql immutable parallel safe as $$
  select coalesce(subject = other_subject, false)
      or (name = other_name and (coalesce(subject, 'token:') like 'token:%' or coalesce(other_subject, 'token:') like 'token:%'))
$$;

-- Neither who wrote a waiver nor who submitted it approves it, and nobody for longer than 365 days, whatever program writes.
create or replace function refuse_own_approval() returns trigger language plpgsql as $$
declare w waiver; submitted waiver_transition;
begin
  if new.state <> 'approved' then return new; end if;
  select * into strict w from waiver where id = new.waiver_id;
  select * into strict submitted from waiver_transition t where t.waiver_id = w.id and t.state = 'submitted' order by t.step desc limit 1;
  if same_person(new.subject, new.person, w.author_subject, w.author)
     or same_person(new.subject, new.person, submitted.subject, submitted.person) then
    raise exception 'waiver % cannot be approved by who wrote or submitted it', w.id using errcode = 'integrity_constraint_violation';
  end if;
  if coalesce(submitted.expires_at, w.expires_at) > now() + interval '365 days 1 hour' then
    raise exception 'waiver % is longer than 365 days', w.id using errcode = 'integrity_constraint_violation';
  end if;
  return new;
end $$;

create or replace function refuse_own_acceptance() returns trigger language plpgsql as $$
begin
  if new.decision = 'accepted' and exists (
       select from control_evidence e
       where e.id = new.evidence_id and same_person(new.subject, new.person, e.author_subject, e.author)) then
    raise exception 'statement % cannot be accepted by its author', new.evidence_id using errcode = 'integrity_constraint_violation';
  end if;
  return new;
end $$;
