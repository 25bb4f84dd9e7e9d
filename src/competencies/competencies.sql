-- Competencies: what somebody can do, at which level, until when, and who verified it.
--   access.retire_competency_type    takes a type out of use, with competency:delete at scope all
--   access.reach_competency, access.reach_competency_type   whether what a request cannot change is 403 or 404
--   access.verify_competency         verifies a record, with competency:verify
--   access.revoke_competency         ends one, with competency:verify
--   access.before_competency_type, access.before_competency   the rules of a type and of a record
--
-- Threat: a role may demand a competency for a permission, so whoever makes up a record makes up a permission. So a
-- record counts once another user verified it, who reaches its holder and did not get that power from them, nor is the
-- holder in disguise; and what was verified is never changed, so that nobody raises a level afterwards and every past
-- moment stays as it was.
--
-- Locks: the record, then its type.

-- A type that was retired stays as it was: records and past demands name it.
create function access.before_competency_type() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'UPDATE' and old.retired_at is not null and access.principal() is not null then
    perform access.refuse('illegal_state', 'This type of competency was retired.');
  end if;
  new.updated_at := now();
  return new;
end $$;

create trigger before_competency_type before insert or update on freehold.competency_types
  for each row execute function access.before_competency_type();

-- Refuses a type with `forbidden` below scope `all`, and whoever reads none as if there were none.
create function access.reach_competency_type(type uuid) returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  me uuid := access.principal();
begin
  if me is null
    or access.scope() = 'all'
    or not exists (select from freehold.competency_types t where t.id = type) then
    return;
  elsif (select s.scope from access.effective_scope(me, 'competency:read') s) is not null then
    perform access.refuse('forbidden', format('You can read this, but your %s does not reach it.', access.permission()));
  end if;
  -- In the words that a verb has for one that does not exist.
  raise exception using errcode = 'FH404', message = 'not_found';
end $$;

-- Retires a type. Whether there is one. A demand that is made at the same moment waits for the lock of its foreign key.
create function access.retire_competency_type(type uuid) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.competency_types;
begin
  if access.permission() is distinct from 'competency:delete' then
    perform access.refuse('forbidden', 'This needs the permission competency:delete.');
  end if;
  perform access.reach_competency_type(type);
  select * into t from freehold.competency_types x where x.id = type for update;
  if t.id is null then
    return false;
  elsif exists (
    select
    from freehold.role_permissions rp
    where rp.competency_type_id = type
      and (rp.ends_at is null or rp.ends_at > now())
  ) then
    perform access.refuse('in_use', 'A role demands this competency for a permission: change that role first.');
  end if;
  update freehold.competency_types x set retired_at = now() where x.id = type;
  return true;
end $$;

-- When a record ends that does not say so itself.
create function access.competency_end(issued_at timestamptz, valid_months integer) returns timestamptz
language sql immutable
return (issued_at at time zone 'utc' + make_interval(months => valid_months)) at time zone 'utc';

-- A record is made of a user whom the caller reaches, in a type that is in use; and is changed until it was verified or
-- revoked. The job that alerts (alerts.sql) changes nothing of this.
create function access.before_competency() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.competency_types;
begin
  new.updated_at := now();
  if access.principal() is null or access.permission() = 'competency:verify' then
    return new;
  end if;
  if tg_op = 'UPDATE' and (old.verified_at is not null or old.revoked_at is not null) then
    perform access.refuse('illegal_state', 'This competency was verified or revoked: record another one.');
  elsif tg_op = 'INSERT' and not (
    access.can_access_user(new.user_id)
    and exists (select from freehold.users u where u.id = new.user_id and u.erased_at is null)
  ) then
    perform access.refuse('invalid_request', 'is not a user whom you can access', 'user_id');
  end if;
  select * into t from freehold.competency_types x where x.id = new.type_id for key share;
  if t.id is null or t.retired_at is not null then
    perform access.refuse('invalid_request', 'is not a type of competency in use', 'type_id');
  elsif new.issued_at > now() then
    perform access.refuse('invalid_request', 'lies in the future', 'issued_at');
  elsif new.expires_at <= new.issued_at then
    perform access.refuse('invalid_request', 'is not after the competency was issued', 'expires_at');
  end if;
  new.expires_at := coalesce(new.expires_at, access.competency_end(new.issued_at, t.valid_months));
  return new;
end $$;

create trigger before_competency
  before insert or update of user_id, type_id, level, issued_at, expires_at, evidence_url, verified_at, revoked_at
  on freehold.competencies
  for each row execute function access.before_competency();

-- What counted, or was refused with a reason, stays.
create function access.before_competency_deleted() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.principal() is not null and (old.verified_at is not null or old.revoked_at is not null) then
    perform access.refuse('illegal_state', 'This competency was verified or revoked, and is kept.');
  end if;
  return old;
end $$;

create trigger before_competency_deleted before delete on freehold.competencies
  for each row execute function access.before_competency_deleted();

-- Refuses with `forbidden` a record that the caller can read and this permission does not reach. What they cannot read
-- is left to the verb, which finds nothing. As access.require_reach does for other resources.
create function access.reach_competency(competency uuid) returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  me uuid := access.principal();
  u freehold.users;
  far record;
begin
  select x.* into u
  from freehold.competencies c
    join freehold.users x on x.id = c.user_id
  where c.id = competency;
  if me is null or u.id is null or access.can_access_user(u.id) then
    return;
  end if;
  far := access.effective_scope(me, 'competency:read');
  if far.scope = 'all' or u.id = any (far.owners) or u.unit_id = any (far.units) then
    perform access.refuse('forbidden', format('You can read this, but your %s does not reach it.', access.permission()));
  end if;
end $$;

-- Whether a user may judge the competencies of another one without owing the power to them: it reaches them around
-- somebody else, whatever the holder delegated.
create function access.judges_independently(subject uuid, holder uuid) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select access.reaches_all(subject, 'competency:verify')
    or exists (
      select
      from unnest(access.reasons(subject, 'competency:verify', now())) r
        join freehold.users u on u.id = judges_independently.holder
      where r.holder <> u.id
        and (
          r.scope = 'all'
          or access.reaches_unit(r.holder, r.scope, u.unit_id)
          or access.reaches_owner(r.holder, r.scope, u.id)
        )
    )
$$;

-- The record that the admitted user verifies or revokes, locked. null: none that they see, or not the one that they saw.
create function access.competency_to_judge(competency uuid, seen timestamptz) returns freehold.competencies
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  c freehold.competencies;
begin
  if access.permission() is distinct from 'competency:verify' then
    perform access.refuse('forbidden', 'This needs the permission competency:verify.');
  end if;
  perform access.reach_competency(competency);
  select * into c from freehold.competencies x where x.id = competency for no key update;
  if c.id is null or not access.can_access_user(c.user_id) or c.updated_at <> seen then
    return null;
  elsif c.user_id = access.principal() or c.user_id = access.impersonator() then
    perform access.refuse('forbidden', 'Another user must judge your competencies.');
  elsif not access.judges_independently(access.principal(), c.user_id) then
    perform access.refuse('forbidden', 'You have this power from the holder of the competency: another user must judge it.');
  elsif c.revoked_at is not null then
    perform access.refuse('illegal_state', 'This competency was revoked.');
  elsif c.expires_at <= now() then
    perform access.refuse('illegal_state', 'This competency has expired.');
  end if;
  return c;
end $$;

-- Verifies a record: from now on it counts. `seen`: its version, if the caller names one. Whether there is such a record.
create function access.verify_competency(competency uuid, seen timestamptz) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  c freehold.competencies := access.competency_to_judge(competency, seen);
begin
  if c.id is null then
    return false;
  elsif c.verified_at is not null then
    perform access.refuse('illegal_state', 'This competency was verified already.');
  elsif exists (select from freehold.competency_types t where t.id = c.type_id and t.retired_at is not null) then
    perform access.refuse('illegal_state', 'This type of competency was retired.');
  end if;
  update freehold.competencies x
  set verified_at = now(), verified_by = access.principal()
  where x.id = competency;
  return true;
end $$;

-- Ends a record now: it counts no longer, or never will. Whether there is one.
create function access.revoke_competency(competency uuid, reason text) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  c freehold.competencies := access.competency_to_judge(competency, null);
begin
  if c.id is null then
    return false;
  end if;
  update freehold.competencies x
  set revoked_at = now(), revoked_by = access.principal(), revocation_reason = reason
  where x.id = competency;
  return true;
end $$;

call access.audited('freehold.competency_types', 'competency_type', noise => '{updated_at,folded}');
call access.audited('freehold.competencies', 'competency', '{evidence_url}', '{updated_at,alerted_days}');

-- They are nobody's: everybody reads them, and they are written at scope `all` alone.
call access.protect('freehold.competency_types', 'competency',
  is_public => true,
  inserts => '{id,name,kind,description,valid_months}',
  updates => '{name,kind,description,valid_months}',
  deletes => false);

call access.protect('freehold.competencies', 'competency',
  owner => 'user_id',
  member => 'user_id',
  inserts => '{id,user_id,type_id,level,issued_at,expires_at,evidence_url}',
  updates => '{level,issued_at,expires_at,evidence_url}');

grant execute on function
  access.retire_competency_type(uuid),
  access.reach_competency(uuid),
  access.reach_competency_type(uuid),
  access.verify_competency(uuid, timestamptz),
  access.revoke_competency(uuid, text)
to freehold_app;
