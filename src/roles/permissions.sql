-- Permissions (`resource:action`), and which role carries which of them, how far and when.
--
-- Threat: a user grants a role, which may be their own, what they do not hold, or further than they hold it; a
-- permission is deleted while it decides something; it is granted in the same moment in which it is deleted. A
-- permission is never deleted, only marked, and a grant ends. Nothing here is called from outside: the verbs are
-- inserts and updates. Grants meet before_key_grants (what an API key names) before before_role_permission.

-- A permission is deleted with permission:delete, when it does not belong to the system and nobody is given it now or
-- later.
create function access.before_permission() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  used text[];
begin
  if new.deleted_at is null or old.deleted_at is not null then
    return new;
  elsif access.principal() is not null and access.permission() is distinct from 'permission:delete' then
    perform access.refuse('forbidden', 'Deleting a permission needs permission:delete.');
  elsif old.is_system then
    perform access.refuse('in_use', format('The permission %s belongs to the system.', old.name));
  end if;
  select array_remove(array[
    (select format('the roles %s', string_agg(r.name, ', ' order by r.name))
      from freehold.role_permissions rp
        join freehold.roles r on r.id = rp.role_id
      where rp.permission = old.name
        and r.deleted_at is null
        and (rp.ends_at is null or rp.ends_at > now())
      having count(*) > 0),
    (select format('overrides of %s', string_agg(distinct u.username, ', '))
      from freehold.overrides o
        join freehold.users u on u.id = o.user_id
      where o.permission = old.name
        and (o.ends_at is null or o.ends_at > now())
      having count(*) > 0),
    (select format('delegations of %s', string_agg(distinct u.username, ', '))
      from freehold.delegation_permissions p
        join freehold.delegations d on d.id = p.delegation_id
        join freehold.users u on u.id = d.delegator_id
      where p.permission = old.name
        and d.ends_at > now()
        and d.revoked_at is null
        and d.decision is distinct from 'rejected'
      having count(*) > 0)
  ], null)
  into used;
  if cardinality(used) > 0 then
    perform access.refuse('in_use', format('The permission %s is in use: %s.', old.name, array_to_string(used, '; ')));
  end if;
  return new;
end $$;

-- The caller must hold what they grant to a role. Each row is checked before it is written, so that no grant gives
-- the caller what they must hold to make it; and as they held it a microsecond ago, before this transaction.
create function access.before_role_permission() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  me uuid := access.principal();
begin
  if tg_op = 'UPDATE' then
    if me is not null and exists (select from freehold.roles r where r.id = new.role_id and r.is_admin) then
      perform access.refuse('illegal_state',
        'The administrator role carries every permission: none can be removed from it.');
    end if;
    new.ends_at := access.ends(old.starts_at, old.ends_at, new.ends_at);
    -- For the first permission that this transaction takes out of the role: those that are left are among what its
    -- holders have.
    if not exists (
      select from freehold.role_permissions rp where rp.role_id = new.role_id and rp.ends_at = now()
    ) then
      perform access.require_power_of(access.holders_of(new.role_id));
    end if;
    return new;
  -- `for share`, because deleting the permission is an update of its row.
  elsif not exists (
    select from freehold.permissions p where p.name = new.permission and p.deleted_at is null for share
  ) then
    perform access.refuse('invalid_request',
      format('%s is not a permission of this tenant', new.permission), 'permissions');
  end if;
  if new.competency_type_id is not null and not exists (
    select from freehold.competency_types t where t.id = new.competency_type_id and t.retired_at is null for share
  ) then
    perform access.refuse('invalid_request',
      format('%s is not a competency type of this tenant', new.competency_type_id), 'permissions');
  end if;
  -- The holders of the role do not become others meanwhile (before_role). Not shared, because the same transaction may
  -- then change the parent.
  perform pg_advisory_xact_lock(hashtext('freehold.roles.parent_id'));
  -- Who holds it everywhere holds it wherever the role is held: most do, and a role may get hundreds of grants.
  if me is not null
    and access.own_scope(me, new.permission, now() - interval '1 microsecond') is distinct from 'all' then
    perform access.user_must_hold(
      array[new.permission],
      array[new.scope]::access.scope[],
      access.holders_of(new.role_id));
  end if;
  return new;
end $$;

create trigger before_permission before update on freehold.permissions
  for each row execute function access.before_permission();

create trigger before_key_grants before insert on freehold.role_permissions
  for each row execute function access.before_key_grants();

create trigger before_role_permission before insert or update on freehold.role_permissions
  for each row execute function access.before_role_permission();

call access.audited('freehold.permissions', 'permission');

call access.audited('freehold.role_permissions', 'role_permission');

-- permission:delete marks, which is an update; permission:create brings back a permission that was marked.
call access.protect('freehold.permissions', 'permission',
  is_public => true,
  inserts => '{id,name,description}',
  updates => '{description,deleted_at}',
  deletes => false,
  updated_with => '{create,update,delete}');

-- A role gets its grants when it is created, and more of them, or fewer, when it is changed.
call access.protect('freehold.role_permissions', 'role',
  is_public => true,
  inserts => '{id,role_id,permission,scope,competency_type_id,competency_level}',
  updates => '{ends_at}',
  deletes => false,
  inserted_with => '{create,update}');
