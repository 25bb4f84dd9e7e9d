create function access.before_permission() returns trigger language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
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
    (select format('the roles %s', string_agg(r.name, ', ' order by r.name)) from freehold.role_permissions rp join freehold.roles r on r.id = rp.role_id
      where rp.permission = old.name and r.deleted_at is null and (rp.ends_at is null or rp.ends_at > now()) having count(*) > 0),
    (select format('overrides of %s', string_agg(distinct u.username, ', ')) from freehold.overrides o join freehold.users u on u.id = o.user_id
      where o.permission = old.name and (o.ends_at is null or o.ends_at > now()) having count(*) > 0),
    (select format('delegations of %s', string_agg(distinct u.username, ', ')) from freehold.delegation_permissions p join freehold.delegations d on d.id = p.delegation_id
        join freehold.users u on u.id = d.delegator_id
      where p.permission = old.name and d.ends_at > now() and d.revoked_at is null and d.decision is distinct from 'rejected' having count(*) > 0)
  ], null) into used;
  if cardinality(used) > 0 then
    perform access.refuse('in_use', format('The permission %s is in use: %s.', old.name, array_to_string(used, '; ')));
  end if;
  return new;
end $$;

-- Row by row before it is written, so that nobody holds by a grant what they must hold to make it.
create function access.before_role_permission() returns trigger language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  me uuid := access.principal();
begin
  if tg_op = 'UPDATE' then
    if me is not null and exists (select from freehold.roles r where r.id = new.role_id and r.is_admin) then
      perform access.refuse('illegal_state', 'The administrator carries everything: nothing can be taken from this role.');
    end if;
    new.ends_at := access.ends(old.starts_at, old.ends_at, new.ends_at);
    return new;
  -- Shared, because a deletion of the permission is an update of its row.
  elsif not exists (select from freehold.permissions p where p.name = new.permission and p.deleted_at is null for share) then
    perform access.refuse('invalid_request', format('%s is not a permission of this tenant', new.permission), 'permissions');
  elsif me is not null and (
      select held.scope is null or held.scope < new.scope::access.scope
      from (select access.own_scope(me, new.permission, now() - interval '1 microsecond') as scope) held) then
    perform access.refuse('forbidden', format('You do not hold %s at scope %s yourself, so you cannot hand it out.', new.permission, new.scope));
  end if;
  return new;
end $$;

create trigger before_role_permission before insert or update on freehold.role_permissions for each row execute function access.before_role_permission();

create trigger before_permission before update on freehold.permissions for each row execute function access.before_permission();

create trigger before_named before insert on freehold.role_permissions for each row execute function access.before_named();

call access.audited('freehold.permissions', 'permission');

call access.audited('freehold.role_permissions', 'role_permission');

create policy read_permissions on freehold.permissions for select using ((select access.principal()) is not null);

create policy read_role_permissions on freehold.role_permissions for select using ((select access.principal()) is not null);

create policy make_permissions on freehold.permissions for insert with check ((select access.permission()) = 'permission:create' and (select access.scope()) = 'all');

create policy change_permissions on freehold.permissions for update using ((select access.permission()) in ('permission:update', 'permission:delete', 'permission:create') and (select access.scope()) = 'all');

create policy grant_permissions on freehold.role_permissions for insert with check ((select access.permission()) in ('role:create', 'role:update') and (select access.scope()) = 'all');

create policy end_permissions on freehold.role_permissions for update using ((select access.permission()) = 'role:update' and (select access.scope()) = 'all');

grant select on freehold.permissions to freehold_app;

grant select on freehold.role_permissions to freehold_app;

grant insert (id, name, description), update (description, deleted_at) on freehold.permissions to freehold_app;

grant insert (id, role_id, permission, scope), update (ends_at) on freehold.role_permissions to freehold_app;
