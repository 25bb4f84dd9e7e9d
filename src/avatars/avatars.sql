-- Pictures of people. `users.avatar` is the version of the one that is shown; its bytes are objects (store.ts). Others' are
-- changed by an update of their row, as their name is.
--   access.set_own_avatar    changes, or removes, the admitted user's own; returns the version that was shown before
--   access.avatars_due       when objects are to be deleted, for the scheduled job
--   access.avatars_left      pictures whose objects are to be deleted
--   access.forget_avatars    they have been
--   access.unknown_avatars   which of these versions nobody shows
--
-- Threat: the picture of somebody who removed it, or who was erased, stays where pictures are kept, because whoever was to
-- delete it died. So what leaves `users.avatar`, for whatever reason, is noted in the same transaction, and the note stays
-- until the objects are gone. The last four are for the owner login.

create function access.after_avatar_change() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into access.left_avatars (user_id, version)
  values (old.id, old.avatar)
  on conflict do nothing;
  return null;
end $$;

create trigger after_avatar_change after update of avatar on freehold.users
  for each row when (old.avatar is not null and new.avatar is distinct from old.avatar)
  execute function access.after_avatar_change();

-- Raises FH403.
create function access.set_own_avatar(version text) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  before text;
begin
  if access.principal() is null or access.key() is not null then
    perform access.refuse('forbidden', 'You change yourself with a session, not with an API key.');
  end if;
  perform access.must_be_licensed();
  select u.avatar into before from freehold.users u where u.id = access.principal() for no key update;
  update freehold.users u
  set avatar = set_own_avatar.version
  where u.id = access.principal() and u.avatar is distinct from set_own_avatar.version;
  return before;
end $$;

create function access.avatars_due() returns timestamptz
language sql stable set search_path = pg_catalog, pg_temp as $$
  select min(l.left_at) from access.left_avatars l
$$;

create function access.avatars_left(at_most integer) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(jsonb_agg(jsonb_build_object('user_id', x.user_id, 'version', x.version)), '[]')
  from (select l.user_id, l.version from access.left_avatars l order by l.left_at limit at_most) x
$$;

create function access.forget_avatars(gone jsonb) returns void
language sql volatile set search_path = pg_catalog, pg_temp as $$
  delete from access.left_avatars l
  using jsonb_to_recordset(gone) g (user_id uuid, version text)
  where l.user_id = g.user_id and l.version = g.version
$$;

create function access.unknown_avatars(found jsonb) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(jsonb_agg(jsonb_build_object('user_id', f.user_id, 'version', f.version)), '[]')
  from jsonb_to_recordset(found) f (user_id uuid, version text)
  where not exists (select from freehold.users u where u.id = f.user_id and u.avatar = f.version)
$$;

grant execute on function access.set_own_avatar(text) to freehold_app;
