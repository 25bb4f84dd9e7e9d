-- Settings: what a tenant decides for itself, columns of its one row (freehold.tenant).
--
-- Threat: by a setting, somebody hands strangers who register a role that they do not hold themselves, or has mails take
-- the tokens of others to a page of their own; or two settings contradict each other, so that the weaker one is what
-- counts and nobody sees it. How far each setting may go, constraints of the table say (tenant_settings, tenant_look). A
-- change of settings is an update. Called from outside: access.idle_limit.

-- How long a session may be without a request. Activity is noted at most once a minute, so that a session ends up to a
-- minute before that and never after it.
create function access.idle_limit(t freehold.tenant) returns interval
language sql immutable
return coalesce(make_interval(mins => t.idle_minutes), make_interval(days => t.idle_days));

-- The origins whose pages may call from a browser. A public endpoint: it tells a stranger what they could find out by
-- trying, and names no actor, because it writes nothing. Raises FH503 for another tenant or one that is off.
create function access.origins(tenant_id uuid) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
begin
  return to_jsonb(t.origins);
end $$;

-- Refuses an update that leaves settings which contradict each other: all of them at once, and of each two the one that
-- this update changes. What contradicted itself before, and is not touched, stays: a tenant that was set so once can
-- still change everything else.
create function access.check_settings(was freehold.tenant, is_now freehold.tenant) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  idle text := case when is_now.idle_minutes is null then 'idle_days' else 'idle_minutes' end;
  -- In how many of the unit of `idle` a day has.
  a_day integer := case when is_now.idle_minutes is null then 1 else 1440 end;
  faults jsonb;
begin
  -- `low` must be at most `high`, in which one is `times` of `low`.
  select jsonb_agg(
    case
      when p.low_changed then jsonb_build_object('field', p.low, 'said', (select format(
        'must be at most %s while %s is %s: to set more, change both in one request',
        p.high_value * p.times, p.high, p.high_value)))
      else jsonb_build_object('field', p.high, 'said', (select format(
        'must be at least %s while %s is %s: to set less, change both in one request',
        ceil(p.low_value::numeric / p.times), p.low, p.low_value)))
    end
    order by p.low)
  into faults
  from (
    values
      (idle, coalesce(is_now.idle_minutes, is_now.idle_days), access.idle_limit(is_now) <> access.idle_limit(was),
        'session_days', is_now.session_days, is_now.session_days <> was.session_days, a_day),
      ('password_warning_days', is_now.password_warning_days, is_now.password_warning_days <> was.password_warning_days,
        'password_days', nullif(is_now.password_days, 0), is_now.password_days <> was.password_days, 1),
      ('password_unique', is_now.password_unique, is_now.password_unique <> was.password_unique,
        'password_min_length', is_now.password_min_length, is_now.password_min_length <> was.password_min_length, 1)
  ) p (low, low_value, low_changed, high, high_value, high_changed, times)
  where p.low_value > p.high_value * p.times
    and (p.low_changed or p.high_changed);
  faults := coalesce(faults, '[]') || access.risk_faults(was, is_now);
  if faults <> '[]' then
    perform access.refuse_fields(faults);
  end if;
end $$;

-- Refuses an update that sets a link which mails carry, unless the admitted user holds every permission at scope `all`,
-- by themselves and with this API key. The token in such a mail sets the password of whoever asked for it, and the page
-- that it leads to reads it: who chooses that page can become anybody. Taking a link away leads back to our pages.
create function access.check_links(was freehold.tenant, is_now freehold.tenant) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  if exists (select from jsonb_each(is_now.links) n where n.value is distinct from was.links -> n.key)
    and exists (
      select from freehold.permissions p where p.deleted_at is null and p.name <> all (access.held_everywhere(null)))
  then
    perform access.refuse('forbidden',
      'Setting links needs every permission at scope all, because the tokens that set passwords go where links lead.');
  end if;
end $$;

-- Notes since when a second factor is required: whoever is newly asked for one has all the days that are given for it.
-- Refuses roles that do not exist.
create function access.note_required_factor(was freehold.tenant, is_now freehold.tenant) returns timestamptz
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  added text[] := array(
    select unnest(is_now.mfa_required_roles) except select unnest(was.mfa_required_roles));
  unknown text := (
    select a.id
    from unnest(added) a (id)
    where not exists (select from freehold.roles r where r.id::text = a.id and r.deleted_at is null)
    limit 1);
begin
  if unknown is not null then
    perform access.refuse('invalid_request', format('%s is not a role of this tenant', unknown), 'mfa_required_roles');
  end if;
  return case
    when not is_now.mfa_required and is_now.mfa_required_roles = '{}' then null
    when was.mfa_required_since is null or added <> '{}' or is_now.mfa_required and not was.mfa_required then now()
    else is_now.mfa_required_since
  end;
end $$;

-- The role that strangers get, the fallback too, is handed out by the user who names it, opens registration, or opens
-- it to others than before.
create function access.before_tenant() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  given freehold.roles;
begin
  new.updated_at := now();
  new.mfa_required_since := access.note_required_factor(old, new);
  perform access.check_settings(old, new);
  if access.permission() = 'setting:update' then
    perform access.check_links(old, new);
  end if;
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

grant execute on function access.idle_limit(freehold.tenant), access.origins(uuid) to freehold_app;

-- The row is made with the tenant. Its name, and whether it is active, are the platform's to change.
call access.protect('freehold.tenant', 'setting',
  is_public => true,
  inserts => '{}',
  updates => '{max_failures,lock_minutes,idle_days,idle_minutes,session_days,max_sessions,access_minutes,
    first_password_hours,reset_link_minutes,api_key_days,password_grant,password_breached,email_login,
    token_permissions,token_permission_list,
    password_days,password_warning_days,password_min_length,password_max_length,password_upper,password_lower,
    password_digit,password_special,password_unique,password_history,password_personal,password_common,
    registration,registration_domains,registration_role,delegation_approval,max_delegations,
    mfa_required,mfa_required_roles,mfa_grace_days,mfa_remember_days,
    risk_weights,risk_suspicious,risk_stop,risk_action,risk_breached,risk_days,
    mail_per_recipient_hour,mail_per_day,notification_days,name,accent_color,links,origins}',
  deletes => false);
