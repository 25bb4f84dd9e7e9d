-- The groups of a person: the manageable roles (roles.is_manageable), which somebody below scope `all` may give too.
-- Called from outside: access.set_groups.
--
-- Threat: what cannot be given or taken one by one is given or taken as a set. So this is one assignment after another,
-- under the triggers of assignments.sql; roles that are no groups are not touched.

-- Makes these the groups that a user holds: names or ids. Raises FH404, FH403, FH400, FH409; then nothing has changed.
create function access.set_groups(subject uuid, wanted jsonb) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  wished uuid[];
  lacking text;
  r record;
begin
  perform access.require_reach('user', subject);
  if access.permission() is distinct from 'role:update'
    or not exists (
      select from freehold.users u
      where u.id = subject and (access.scope() = 'all' or u.unit_id = any (access.scope_unit_ids()))
    ) then
    perform access.refuse('not_found', 'There is no user with this id.');
  end if;
  perform access.lock_user(subject);
  select min(w.name) filter (where x.id is null), coalesce(array_agg(x.id) filter (where x.id is not null), '{}')
  into lacking, wished
  from jsonb_array_elements_text(wanted) w (name)
    left join freehold.roles x
      on x.deleted_at is null and x.is_manageable and (x.name = w.name or x.id::text = lower(w.name));
  if lacking is not null then
    perform access.refuse('invalid_request', format('%s is not a manageable role of this tenant', lacking), 'groups');
  end if;
  -- In the order of their ids, so that two who set groups wait for each other's roles in one order.
  for r in
    select x.id, x.id = any (wished) as is_wished
    from freehold.roles x
    where x.deleted_at is null and x.is_manageable
    order by x.id
  loop
    if r.is_wished
      and exists (
        select from freehold.user_roles ur
        where ur.user_id = subject and ur.role_id = r.id and access.in_force(ur.starts_at, ur.ends_at, now())
      ) then
      continue;
    end if;
    -- One that was to begin later begins now instead.
    update freehold.user_roles ur
    set ends_at = greatest(now(), ur.starts_at)
    where ur.user_id = subject and ur.role_id = r.id and (ur.ends_at is null or ur.ends_at > now());
    if r.is_wished then
      -- Who manages one organization gives what is held within it.
      insert into freehold.user_roles (id, user_id, role_id, organization_id)
      select gen_random_uuid(), u.id, r.id, case when access.scope() = 'organization' then u.organization_id end
      from freehold.users u
      where u.id = subject;
    end if;
  end loop;
end $$;

grant execute on function access.set_groups(uuid, jsonb) to freehold_app;
