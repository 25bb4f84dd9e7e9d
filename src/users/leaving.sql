-- When users come and go. `is_active` says whether they are here, `joined_at` and `terminated_at` since when and until
-- when; a date that has yet to come is kept as well as one that has passed.
--   access.is_present              asked by whatever lets a user in
--   access.deactivate_terminated   for the scheduled job
--
-- Threat: somebody who has left goes on working, because the date on which they leave is a note that nobody reads. So
-- whatever lets somebody in reads it, the decision about them ends with it (freehold.user_periods), and the scheduled
-- job deactivates them. The last administrator cannot be given one, or nobody could let anybody in again.

-- Whether a user may be let in now: active, and not past the date on which they leave.
create function access.is_present(u freehold.users) returns boolean
language sql stable
return u.is_active and coalesce(u.terminated_at > now(), true);

-- Keeps the dates: neither is lost by a replacement that does not know it. A past date on which a user leaves
-- deactivates them.
create function access.before_coming_or_going() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  was_active boolean := tg_op = 'UPDATE' and old.is_active;
begin
  -- Whoever may not change their own date is told that instead (access.check_user_change).
  if was_active and not new.is_active and access.principal() = new.id then
    perform access.refuse('illegal_state', 'You cannot deactivate yourself.');
  end if;
  if new.terminated_at <= now() and (tg_op = 'INSERT' or was_active) then
    new.is_active := false;
  end if;
  if new.is_active and not was_active then
    new.joined_at := coalesce(new.joined_at, now());
    new.terminated_at := case when new.terminated_at > now() then new.terminated_at end;
  elsif was_active and not new.is_active then
    -- user:delete chooses no date.
    new.terminated_at := case
      when access.permission() = 'user:delete' then now()
      else least(new.terminated_at, now())
    end;
  elsif tg_op = 'UPDATE' and not new.is_active then
    new.terminated_at := coalesce(new.terminated_at, old.terminated_at);
  end if;
  return new;
end $$;

-- Keeps the periods in which a user was active, of which the last one ends where they leave, and ends the sessions of a
-- user who is deactivated.
create function access.after_coming_or_going() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'INSERT' or new.is_active <> old.is_active then
    if new.is_active then
      insert into freehold.user_periods (id, user_id, starts_at, ends_at)
      values (gen_random_uuid(), new.id, now(), new.terminated_at);
    else
      update freehold.user_periods p
      set ends_at = greatest(now(), p.starts_at)
      where p.user_id = new.id
        and (p.ends_at is null or p.ends_at > now());
      perform access.end_what_lets_in(new.id), access.keep_admin();
    end if;
  elsif new.is_active and new.terminated_at is distinct from old.terminated_at then
    update freehold.user_periods p
    set ends_at = new.terminated_at
    where p.user_id = new.id
      and (p.ends_at is null or p.ends_at > now());
    -- The date had passed, and nobody had deactivated the user yet.
    if not found then
      insert into freehold.user_periods (id, user_id, starts_at, ends_at)
      values (gen_random_uuid(), new.id, now(), new.terminated_at);
      perform access.end_what_lets_in(new.id);
    end if;
    perform access.keep_admin();
  end if;
  return null;
end $$;

-- Ends the sessions of somebody who has left, their remembered devices, logins that are half done, and what was mailed to
-- them: none of it becomes
-- valid again when they come back. API keys work only for an active user and stay as they are (docs/decisions/0015-api-keys.md).
create function access.end_what_lets_in(subject uuid) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  update freehold.sessions s
  set ended_at = now(), ended_because = 'deactivated'
  where s.user_id = subject
    and s.ended_at is null;
  perform access.forget_devices(subject);
  update freehold.one_time_tokens k
  set used_at = now()
  where k.user_id = subject
    and k.used_at is null;
  update freehold.login_challenges c set used_at = now() where c.user_id = subject and c.used_at is null;
  perform access.end_email_logins(subject);
end $$;

-- Ends what was mailed to log in with.
create function access.end_email_logins(subject uuid) returns void
language sql volatile set search_path = pg_catalog, pg_temp as $$
  update freehold.email_logins e set used_at = now() where e.user_id = subject and e.used_at is null
$$;

-- It was mailed to an address that is not theirs any more, and may be again.
create function access.after_address_change() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform access.end_email_logins(new.id);
  update freehold.login_challenges c set used_at = now()
  where c.user_id = new.id and c.used_at is null and c.code_hash is not null;
  return null;
end $$;

-- Deactivates users whose last day has come, for the scheduled job. The only administrator stays, without the date.
create function access.deactivate_terminated(at_most integer) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  subject uuid;
begin
  for subject in
    select u.id
    from freehold.users u
    where u.is_active and u.terminated_at <= now()
    order by u.terminated_at
    limit at_most
    for no key update skip locked
  loop
    begin
      update freehold.users u set is_active = false where u.id = subject;
    exception when sqlstate 'FH409' then
      update freehold.users u set terminated_at = null where u.id = subject;
    end;
  end loop;
end $$;

create trigger before_coming_or_going before insert or update of is_active, joined_at, terminated_at on freehold.users
  for each row execute function access.before_coming_or_going();

create trigger after_coming_or_going after insert or update of is_active, joined_at, terminated_at on freehold.users
  for each row execute function access.after_coming_or_going();

create trigger after_address_change after update of email on freehold.users
  for each row when (old.email <> new.email) execute function access.after_address_change();
