-- Overrides: a permission that one user is granted or denied whatever their roles carry, from when to when. A denial
-- wins over everything. An override ends; it is not deleted.
--
-- Threat: users lift their own denial; somebody grants what they do not hold; a denial leaves the tenant without an
-- administrator. roles.sql says why these are triggers. Nothing here is called from outside: the verbs are inserts
-- and updates.

-- Nobody overrides their own permissions, nor gives what they do not hold.
create function access.before_override() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  -- Whether this change gives something to the user: a grant that begins or lasts longer, or a denial that ends
  -- sooner.
  gives boolean := case
    when new.effect = 'grant' then
      tg_op = 'INSERT'
      or (old.ends_at is not null and (new.ends_at is null or new.ends_at > old.ends_at))
    else
      tg_op = 'UPDATE'
      and new.ends_at is not null
      and (old.ends_at is null or new.ends_at < old.ends_at)
  end;
begin
  if access.principal() = new.user_id then
    perform access.refuse('forbidden', 'You cannot override your own permissions.');
  -- `for share`, because deleting the permission is an update of its row.
  elsif tg_op = 'INSERT'
    and not exists (
      select from freehold.permissions p where p.name = new.permission and p.deleted_at is null for share
    ) then
    perform access.refuse('invalid_request',
      format('%s is not a permission of this tenant', new.permission), 'permission');
  elsif tg_op = 'INSERT' then
    new.starts_at := access.begins(new.starts_at, new.ends_at);
  else
    new.ends_at := access.ends(old.starts_at, old.ends_at, new.ends_at);
    if new.ends_at = new.starts_at and new.starts_at > now() then
      -- It was to begin later and never does: an empty range, and a past one.
      new.starts_at := now();
      new.ends_at := now();
    end if;
  end if;
  if gives then
    -- A denial hides at which scope the user would hold the permission without it, so that only somebody who holds it
    -- at scope `all` lifts one.
    perform access.must_hold(
      array[new.permission],
      array[case when new.effect = 'grant' then new.scope else 'all' end]::access.scope[],
      array[new.user_id]);
  else
    perform access.require_power_of(array[new.user_id]);
  end if;
  return new;
end $$;

-- A denial must not leave the tenant without anybody who can repair it.
create function access.after_override() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if new.effect = 'deny' then
    perform access.keep_admin();
  end if;
  return null;
end $$;

create trigger before_override before insert or update on freehold.overrides
  for each row execute function access.before_override();

create trigger after_override after insert on freehold.overrides
  for each row execute function access.after_override();

call access.audited('freehold.overrides', 'override');

-- Users with user:read or permission:update read overrides, their own too. They write those of others alone, with
-- permission:update.
call access.protect('freehold.overrides', 'permission',
  owner => 'user_id',
  member => 'user_id',
  reads => '{user:read,permission:update}',
  inserts => '{id,user_id,permission,effect,scope,starts_at,ends_at}',
  updates => '{ends_at}',
  deletes => false,
  inserted_with => '{update}',
  of_others => true);
