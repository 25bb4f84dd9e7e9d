-- Settings: what a tenant decides for itself, columns of its one row (freehold.tenant).
--
-- Threat: by a setting, somebody hands strangers who register a role that they do not hold themselves. How far each
-- setting may go, a constraint of the table says (tenant_settings). Nothing here is called from outside: a change of
-- settings is an update.

-- The role that strangers get, the fallback too, is handed out by the user who names it, opens registration, or opens
-- it to others than before.
create function access.before_tenant() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  given freehold.roles;
begin
  new.updated_at := now();
  if access.permission() = 'setting:update'
    and (
      (
        new.registration
        and (new.registration, new.registration_role, new.registration_domains)
          is distinct from (old.registration, old.registration_role, old.registration_domains)
      )
      or (new.registration_role is not null and new.registration_role is distinct from old.registration_role)
    ) then
    -- Locked, so that the role is not deleted or switched off meanwhile.
    select r.*
    into given
    from freehold.roles r
    where r.deleted_at is null
      and case when new.registration_role is null then r.is_fallback else r.name = new.registration_role end
    for share;
    if given.id is null and new.registration_role is not null then
      perform access.refuse('invalid_request',
        format('%s is not a role of this tenant', new.registration_role), 'registration_role');
    end if;
    if not given.is_active then
      perform access.refuse('invalid_request', format('%s is not active', given.name), 'registration_role');
    end if;
    perform access.must_hold_role(given.id, '{}');
  end if;
  return new;
end $$;

-- The role of registration stays the one that was named, and works: a user who may rename roles must not hand another
-- one to strangers by giving it that name, and whoever gets one that is switched off cannot log in. A trigger of
-- freehold.roles.
create function access.keep_registration_role() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if (new.deleted_at is not null or (old.is_active and not new.is_active))
    and exists (
      select
      from freehold.tenant t
      where t.registration_role = old.name
        or (t.registration and t.registration_role is null and new.is_fallback)
    ) then
    perform access.refuse('in_use',
      format('The role %s is given to users who register: choose another in the settings first.', old.name));
  end if;
  update freehold.tenant t
  set registration_role = new.name
  where t.registration_role = old.name
    and new.name <> old.name;
  return null;
end $$;

create trigger before_tenant before update on freehold.tenant
  for each row execute function access.before_tenant();

call access.audited('freehold.tenant', 'tenant');

-- The row is made with the tenant. Its name, and whether it is active, are the platform's to change.
call access.protect('freehold.tenant', 'setting',
  is_public => true,
  inserts => '{}',
  updates => '{max_failures,lock_minutes,idle_days,idle_minutes,session_days,max_sessions,access_minutes,
    first_password_hours,reset_link_minutes,api_key_days,password_grant,password_breached,password_days,password_warning_days,password_min_length,password_max_length,password_upper,password_lower,
    password_digit,password_special,password_unique,password_history,password_personal,password_common,
    registration,registration_domains,registration_role,delegation_approval,max_delegations,
    mail_per_recipient_hour,mail_per_day}',
  deletes => false);
