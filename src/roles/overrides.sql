create function access.before_override() returns trigger language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  -- What this change gives to the person: a grant that begins or lasts longer, a denial that ends sooner.
  gives boolean := case when new.effect = 'grant' then tg_op = 'INSERT' or (old.ends_at is not null and (new.ends_at is null or new.ends_at > old.ends_at))
    else tg_op = 'UPDATE' and new.ends_at is not null and (old.ends_at is null or new.ends_at < old.ends_at) end;
begin
  if access.principal() = new.user_id then
    perform access.refuse('forbidden', 'Nobody overrides their own permissions.');
  elsif tg_op = 'INSERT' and not exists (select from freehold.permissions p where p.name = new.permission and p.deleted_at is null for share) then
    perform access.refuse('invalid_request', format('%s is not a permission of this tenant', new.permission), 'permission');
  elsif tg_op = 'INSERT' then
    new.starts_at := access.begins(new.starts_at, new.ends_at);
  else
    new.ends_at := access.ends(old.starts_at, old.ends_at, new.ends_at);
    if new.ends_at = new.starts_at and new.starts_at > now() then
      -- What was to begin later never does: an empty range, and a past one.
      new.starts_at := now();
      new.ends_at := now();
    end if;
  end if;
  if gives then
    -- A denial hides how far the person would reach without it; only who reaches everything lifts one.
    perform access.must_hold(array[new.permission], array[case when new.effect = 'grant' then new.scope else 'all' end]::access.scope[]);
  end if;
  return new;
end $$;

-- A denial must not leave the tenant without anybody who can mend it.
create function access.after_override() returns trigger language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if new.effect = 'deny' then
    perform access.keep_admin();
  end if;
  return null;
end $$;

create trigger before_override before insert or update on freehold.overrides for each row execute function access.before_override();

create trigger after_override after insert on freehold.overrides for each row execute function access.after_override();

call access.audited('freehold.overrides', 'override');

create policy read_overrides on freehold.overrides for select using ((select access.permission()) in ('user:read', 'permission:update') and ((select access.scope()) = 'all' or user_id = any ((select access.owners())::uuid[])
  or exists (select from freehold.users u where u.id = user_id and u.unit_id = any ((select access.units())::uuid[]))));

create policy make_overrides on freehold.overrides for insert with check ((select access.permission()) = 'permission:update'
  and ((select access.scope()) = 'all' or exists (select from freehold.users u where u.id = user_id and u.unit_id = any ((select access.units())::uuid[]))));

create policy end_overrides on freehold.overrides for update using ((select access.permission()) = 'permission:update'
  and ((select access.scope()) = 'all' or exists (select from freehold.users u where u.id = user_id and u.unit_id = any ((select access.units())::uuid[]))));

grant select on freehold.overrides to freehold_app;

grant insert (id, user_id, permission, effect, scope, starts_at, ends_at), update (ends_at) on freehold.overrides to freehold_app;
