-- Delegations: a user lets another act for them for a time, with a role that they hold or with chosen permissions. In
-- force once it is approved and until it is revoked, and only as far as the delegator holds it at that moment
-- (access.reasons decides); nothing has to end it.
--
-- Threat: a user passes on what was delegated to them, or approves a delegation from which they gain; one that was
-- rejected or revoked comes back. So every update meets the trigger below, and every insert those of making.sql.
-- Called from outside: access.substitute, and nothing else; the verbs are inserts and updates.

-- Finds the user who acts now for another with a permission: the delegate and, where that one is away too (has
-- delegated the same of what they hold themselves), the delegate of theirs, and so on; never in a circle. Returns
-- {user_id, acting_user_id, chain}; null when the caller does not reach the user.
create function access.substitute(subject uuid, permission text) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  chain jsonb := '[]';
  met uuid[] := array[subject];
  acting uuid := subject;
  d record;
begin
  if access.permission() is distinct from 'delegation:read'
    or not exists (
      select
      from freehold.users u
      where u.id = subject
        and (access.scope() = 'all' or u.id = any (access.scope_owner_ids()) or u.unit_id = any (access.scope_unit_ids()))
    ) then
    return null;
  elsif not exists (
    select from freehold.permissions p where p.name = substitute.permission and p.deleted_at is null
  ) then
    perform access.refuse('invalid_request', 'is not a permission of this tenant', 'query/permission');
  elsif not access.was_active(subject, now()) or access.decide(subject, permission, now()) is null then
    return jsonb_build_object('user_id', subject, 'acting_user_id', null, 'chain', chain);
  end if;
  loop
    select x.id, x.delegate_id
    into d
    from freehold.delegations x
    where x.delegator_id = acting
      and access.in_force(x.starts_at, x.ends_at, now())
      and x.decision = 'approved'
      and x.revoked_at is null
      and x.delegate_id <> all (met)
      and access.own_scope(acting, permission, now()) is not null
      and case
        when x.role_id is null then exists (
          select
          from freehold.delegation_permissions p
          where p.delegation_id = x.id
            and p.permission = substitute.permission
        )
        else
          x.role_id in (select access.roles_of(acting, now()))
          and exists (select from access.role_grants(x.role_id, now()) g where g.permission = substitute.permission)
      end
      and access.was_active(x.delegate_id, now())
      and exists (select from access.roles_of(x.delegate_id, now()))
      -- Nobody acts who is denied it, or lacks a competency that it demands.
      and access.decide(x.delegate_id, substitute.permission, now()) is not null
    order by x.starts_at desc, x.created_at desc, x.id
    limit 1;
    exit when not found;
    -- A line of thousands would take seconds.
    if cardinality(met) > 50 then
      perform access.refuse('limit_reached', 'More than 50 users act for each other in a line here: ask for one of them.');
    end if;
    chain := chain || jsonb_build_object('delegation_id', d.id, 'from', acting, 'to', d.delegate_id);
    acting := d.delegate_id;
    met := met || acting;
  end loop;
  return jsonb_build_object('user_id', subject, 'acting_user_id', acting, 'chain', chain);
end $$;

-- A delegation is decided once, by a third user whose permission to do so does not come from one of the two, and is
-- revoked once. One that is over stays over.
create function access.before_delegation_change() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  me uuid := access.principal();
begin
  if me is null then
    return new;
  elsif old.revoked_at is not null or old.decision = 'rejected' or old.ends_at <= now() then
    perform access.refuse('illegal_state', 'This delegation has ended.');
  elsif access.permission() = 'delegation:approve' then
    if not exists (
      select
      from unnest(access.reasons(me, 'delegation:approve', now())) s
      where s.holder not in (old.delegator_id, old.delegate_id)
    ) then
      perform access.refuse('forbidden', 'Neither the delegator nor the delegate can decide on a delegation.');
    elsif old.decision is not null then
      perform access.refuse('illegal_state', 'This delegation is not pending.');
    end if;
    new.decided_at := now();
    new.decided_by := me;
    new.revoked_at := null;
  else
    perform access.require_power_of(array[old.delegator_id, old.delegate_id]) where me <> old.delegator_id;
    new.decision := old.decision;
    new.decided_at := old.decided_at;
    new.decided_by := old.decided_by;
    new.revoked_at := now();
  end if;
  return new;
end $$;

create trigger before_delegation_change before update on freehold.delegations
  for each row execute function access.before_delegation_change();

call access.audited('freehold.delegations', 'delegation');

call access.audited('freehold.delegation_permissions', 'delegation_permission',
  noise => '{}',
  keys => '{delegation_id,permission}');

-- Not access.protect: both users read a delegation with any permission, only the delegator makes one, and a decision
-- is a third user's.
create policy read on freehold.delegations for select
  using (
    delegator_id = any ((select access.scope_owner_ids())::uuid[])
    or delegate_id = (select access.principal())
    or (
      (select access.permission()) like 'delegation:%'
      and (
        (select access.scope()) = 'all'
        or exists (
          select from freehold.users u where u.id = delegator_id and u.unit_id = any ((select access.scope_unit_ids())::uuid[])
        )
      )
    )
  );

create policy make on freehold.delegations for insert
  with check (
    (select access.permission()) = 'delegation:create'
    and delegator_id = (select access.principal())
  );

create policy change on freehold.delegations for update
  using (
    (
      (select access.permission()) = 'delegation:update'
      and (
        delegator_id = (select access.principal())
        or (select access.scope()) = 'all'
        or exists (
          select from freehold.users u where u.id = delegator_id and u.unit_id = any ((select access.scope_unit_ids())::uuid[])
        )
      )
    )
    or (
      (select access.permission()) = 'delegation:approve'
      and delegator_id <> (select access.principal())
      and delegate_id <> (select access.principal())
      and (
        (select access.scope()) = 'all'
        or exists (
          select from freehold.users u where u.id = delegator_id and u.unit_id = any ((select access.scope_unit_ids())::uuid[])
        )
      )
    )
  );

-- Not access.protect: the permissions are read with their delegation, and chosen in the transaction that makes it.
create policy read on freehold.delegation_permissions for select
  using (exists (select from freehold.delegations d where d.id = delegation_id));

create policy make on freehold.delegation_permissions for insert
  with check (
    (select access.permission()) = 'delegation:create'
    and exists (
      select
      from freehold.delegations d
      where d.id = delegation_id
        and d.delegator_id = (select access.principal())
        and d.created_at = now()
    )
  );

grant
  select,
  insert (id, delegator_id, delegate_id, role_id, starts_at, ends_at, reason),
  update (decision, decided_at, decided_by, revoked_at)
on freehold.delegations to freehold_app;

grant select, insert on freehold.delegation_permissions to freehold_app;

grant execute on function access.substitute(uuid, text) to freehold_app;
