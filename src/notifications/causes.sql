-- What people are told of, each by the transaction in which it happens.
--   access.notify_of_mail    a mail about the security of an account is in the list as well; called by access.enqueue_mail
--
-- Threat: somebody logs in as another from a device of their own, and the other never learns of it; or a secret, or the
-- name of somebody who is erased later, is copied to where nobody looks for it. So a session of a device that the user has
-- not used before is told of, and of a mail only what is listed here is kept.

create function access.notify_of_mail(mail text, subject uuid, data jsonb) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  if mail in (
    'account_locked', 'device_locked', 'api_key_created', 'identity_added', 'identity_removed', 'passkey_added',
    'passkey_copied', 'passkey_removed', 'mfa_enabled', 'mfa_disabled', 'mfa_reset', 'password_changed',
    'password_expires', 'email_changed', 'impersonated')
  then
    perform access.notify(
      subject,
      mail,
      (
        select coalesce(jsonb_object_agg(d.key, d.value), '{}')
        from jsonb_each(data) d
        where d.key in ('until', 'key_name', 'prefix', 'provider', 'passkey_name', 'expires_at')
      ),
      is_mailed => true);
  end if;
end $$;

-- A session of a device that the user has not used before, who has used one. Programs and pages show no device token each
-- time: one that is called the same, in the same country, is no other.
create function access.after_new_session() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if exists (select from freehold.sessions s where s.user_id = new.user_id and s.id <> new.id)
    and not exists (
      select
      from freehold.sessions s
      where s.user_id = new.user_id
        and s.id <> new.id
        and (
          s.device_id = new.device_id
          or s.device is not distinct from new.device and s.country is not distinct from new.country
        )
    )
  then
    perform access.notify(
      new.user_id, 'new_device',
      jsonb_strip_nulls(jsonb_build_object('device', new.device, 'city', new.city, 'country', new.country)),
      null, 'session', new.id::text);
  end if;
  return null;
end $$;

create trigger after_new_session after insert on freehold.sessions
  for each row when (new.impersonator_id is null) execute function access.after_new_session();

-- Who may decide on a delegation, at most twenty: by roles of their own, and neither of the two.
create function access.deciders(d freehold.delegations) returns setof uuid
language sql stable set search_path = pg_catalog, pg_temp as $$
  with recursive carrying (role_id) as (
    select rp.role_id
    from freehold.role_permissions rp
    where rp.permission = 'delegation:approve' and access.in_force(rp.starts_at, rp.ends_at, now())
    union
    select r.id from freehold.roles r where r.is_admin
    union
    select p.role_id
    from carrying c
      join freehold.role_periods p on p.parent_id = c.role_id and access.in_force(p.starts_at, p.ends_at, now())
  )
  select u.id
  from (
    select distinct ur.user_id
    from carrying c
      join freehold.user_roles ur on ur.role_id = c.role_id
    where access.in_force(ur.starts_at, ur.ends_at, now())
    order by ur.user_id
    limit 200
  ) x
    join freehold.users u on u.id = x.user_id
    join freehold.users delegator on delegator.id = d.delegator_id
    cross join lateral access.own_scope(u.id, 'delegation:approve', now()) s (scope)
  where u.is_active
    and u.id not in (d.delegator_id, d.delegate_id)
    and (s.scope = 'all' or s.scope in ('team', 'department') and u.unit_id = delegator.unit_id)
  order by s.scope = 'all', u.id
  limit 20
$$;

-- A delegation is told to its delegate once it is in force or decided; to its delegator what others do with it; and to who
-- may decide, that it waits for them.
create function access.after_delegation() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  at jsonb := jsonb_build_object(
    'starts_at', to_char(new.starts_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
    'ends_at', to_char(new.ends_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'));
  id text := new.id::text;
begin
  if tg_op = 'INSERT' and new.decision is null then
    perform access.notify(d, 'delegation_requested', at, new.delegator_id, 'delegation', id) from access.deciders(new) d;
  elsif tg_op = 'INSERT' or old.decision is null and new.decision = 'approved' then
    perform access.notify(new.delegate_id, 'delegation_received', at, new.delegator_id, 'delegation', id);
  end if;
  if tg_op = 'UPDATE' and old.decision is null and new.decision is not null then
    perform access.notify(new.delegator_id, 'delegation_' || new.decision, at, new.delegate_id, 'delegation', id);
  elsif tg_op = 'UPDATE' and old.revoked_at is null and new.revoked_at is not null then
    perform access.notify(new.delegate_id, 'delegation_revoked', at, new.delegator_id, 'delegation', id)
    where new.decision = 'approved';
    perform access.notify(new.delegator_id, 'delegation_taken_back', at, new.delegate_id, 'delegation', id);
  end if;
  return null;
end $$;

create trigger after_delegation after insert or update of decision, revoked_at on freehold.delegations
  for each row execute function access.after_delegation();

-- Whoever invited somebody learns that they came.
create function access.after_acceptance() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform access.notify(new.inviter_id, 'invitation_accepted', '{}', new.accepted_by, 'invitation', new.id::text);
  return null;
end $$;

create trigger after_acceptance after update of accepted_at on freehold.invitations
  for each row when (old.accepted_at is null and new.accepted_at is not null) execute function access.after_acceptance();
