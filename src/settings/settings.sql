-- A role that strangers get, the fallback too, is handed out by whoever names it, and by whoever lets strangers in, or others than before.
create function access.before_tenant() returns trigger language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  given uuid;
begin
  new.updated_at := now();
  if access.permission() = 'setting:update' and (
      (new.registration and (new.registration, new.registration_role, new.registration_domains) is distinct from (old.registration, old.registration_role, old.registration_domains))
      or (new.registration_role is not null and new.registration_role is distinct from old.registration_role)) then
    select r.id into given from freehold.roles r
    where r.deleted_at is null and case when new.registration_role is null then r.is_fallback else r.name = new.registration_role end for share;
    if given is null and new.registration_role is not null then
      perform access.refuse('invalid_request', format('%s is not a role of this tenant', new.registration_role), 'registration_role');
    end if;
    perform access.must_hold_role(given);
  end if;
  return new;
end $$;

-- That role stays the one that was named: who may rename roles must not hand another one to strangers by its name.
create function access.keep_registration_role() returns trigger language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if new.deleted_at is not null and exists (select from freehold.tenant t where t.registration_role = old.name) then
    perform access.refuse('in_use', format('The role %s is the one of who registers: name another in the settings first.', old.name));
  end if;
  update freehold.tenant t set registration_role = new.name where t.registration_role = old.name and new.name <> old.name;
  return null;
end $$;

create trigger before_tenant before update on freehold.tenant for each row execute function access.before_tenant();

call access.audited('freehold.tenant', 'tenant');

create policy read_tenant on freehold.tenant for select using ((select access.principal()) is not null);

create policy change_tenant on freehold.tenant for update using ((select access.permission()) = 'setting:update' and (select access.scope()) = 'all');

grant select on freehold.tenant to freehold_app;

grant update (max_failures, lock_minutes, idle_days, session_days, max_sessions, access_minutes, password_days, password_warning_days, password_min_length, password_max_length,
  password_upper, password_lower, password_digit, password_special, password_unique, password_history, password_personal, password_common, registration, registration_domains,
  registration_role, delegation_approval) on freehold.tenant to freehold_app;
