-- Stepping up: the user of a session proves once more who they are, and the session goes on as fresh, or stronger.
--   access.begin_step_up    first half, with a password: begins an attempt
--   access.finish_step_up   second half: compares it, and raises the session
--   access.raise_session    what every proof ends with, whichever room takes it
--   access.step_up_methods  by what the admitted user can do it
-- The admission asks whether a session is fresh and strong enough (src/access/admission.sql).
--
-- Threat: whoever finds an open session, or steals its token, guesses the password in it; raises another session than
-- their own; or, as the app login, raises one without a proof, or guesses in transactions that are rolled back. So an
-- attempt counts in the lockout of changes, whose guesses it shares; the session is the admitted one; both functions take
-- the system's key; and nobody but definer functions calls the third. What is proven ends with the session.

-- First half: what access.begin_attempt returns, for the admitted user.
create function access.begin_step_up(tenant_id uuid, system_key text) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users;
begin
  select * into strict u from freehold.users x where x.id = access.principal();
  return access.begin_attempt(
    t, 'change:' || u.id, null, u.id, u.username, u.username, access.hash_parameters_of(u.id, u.username)
  );
end $$;

-- Second half: {outcome: ok, claims}, or {outcome: wrong | ended}. Both are returned, so that the attempt stays counted.
create function access.finish_step_up(tenant_id uuid, system_key text, attempt uuid, digest text) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_system(tenant_id, system_key);
  u freehold.users := access.finish_attempt(t, attempt, digest);
  s freehold.sessions;
begin
  if u.id is null or u.id is distinct from access.principal() then
    perform access.record('STEP_UP_FAILED', 'update', 'session', access.session()::text, null, null, 20);
    return jsonb_build_object('outcome', 'wrong');
  end if;
  s := access.raise_session(access.session(), 'pwd', 1);
  if s.id is null then
    return jsonb_build_object('outcome', 'ended');
  end if;
  return jsonb_build_object('outcome', 'ok', 'claims', access.token_claims(u, s, t));
end $$;

-- Makes a session fresh: its user has just proven who they are by the methods `proven` (RFC 8176, with a space between
-- them). `factors` is how many that makes, with those that the session had; a level is kept, and methods add up. null: the
-- session has ended, or somebody else acts in it. The caller has locked the user's row.
-- The audit shows it as STEP_UP (src/audit/audit.sql).
create function access.raise_session(session uuid, proven text, factors integer) returns freehold.sessions
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  s freehold.sessions;
begin
  update freehold.sessions x
  set authenticated_at = now(),
    aal = greatest(x.aal, factors),
    amr = (
      select string_agg(m.name, ' ' order by m.place)
      from (
        select w.name, min(w.place) as place
        from string_to_table(x.amr || ' ' || proven, ' ') with ordinality w (name, place)
        group by w.name
      ) m
    )
  where x.id = session and x.ended_at is null and x.impersonator_id is null
  returning x.* into s;
  return s;
end $$;

-- `password`, where there is one, and what access.factor_methods names; null: nobody was admitted.
create function access.step_up_methods() returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select case when access.current_password(u.id) is null then '[]' else '["password"]' end::jsonb
    || access.factor_methods(u)
  from freehold.users u
  where u.id = access.principal()
$$;

grant execute on function
  access.step_up_methods(),
  access.begin_step_up(uuid, text),
  access.finish_step_up(uuid, text, uuid, text)
to freehold_app;
