-- Idempotency keys: a request that creates something and is repeated with the same Idempotency-Key creates nothing
-- again and gets the same answer (docs/decisions/0026-idempotency-keys.md).
--
-- Threats: two requests at once that each create; a caller who gets another's answer by their key; a secret that is
-- shown for as long as the answer is kept; an answer that is in the server's log. So an answer belongs to one session
-- or API key, it is kept by the transaction that creates, its primary key lets one of two transactions commit, and
-- its secrets are encrypted by the Worker and returned for 10 minutes.
--
-- Called from outside, after the admission:
--   access.begin_once    first: ends the transaction if the request was answered before
--   access.keep_answer   last: keeps the answer
--   access.kept_answer   whether it was answered before, where nothing is created yet

-- The name of an answer: for one credential, route and key. null: nobody was admitted.
create function access.answer_id(route text, key_hash bytea) returns bytea
language sql stable
return sha256(convert_to(coalesce(access.session(), access.key()) || ' ' || route, 'UTF8') || key_hash);

-- The answer that was kept for this request: {principal, resource, secrets_encrypted}; null: none. Raises FH422 when
-- the key was sent with another request. `other_hash` is the same request's under the Worker's other key: its keys were
-- rotated meanwhile.
create function access.kept_answer(route text, key_hash bytea, request_hash bytea, other_hash bytea default null)
returns json
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  k access.kept_answers;
begin
  select * into k
  from access.kept_answers x
  where x.id = access.answer_id(route, key_hash) and x.created_at > now() - interval '24 hours';
  if k.id is null then
    return null;
  elsif k.request_hash <> kept_answer.request_hash and k.request_hash is distinct from other_hash then
    perform access.refuse('idempotency_mismatch', 'This Idempotency-Key was sent with another request before: use a new one.');
  end if;
  return json_build_object(
    'principal', json_build_object('user_id', access.principal(), 'session_id', access.session(), 'scope', access.scope()),
    'resource', k.resource,
    'secrets_encrypted', case when k.created_at > now() - interval '10 minutes' then k.secrets_encrypted end);
end $$;

-- Ends the transaction with FR200 when the request was answered before: the statements after this one, which create,
-- were sent together with it. The answer is in the error's field `table`, because `detail` is written to the
-- server's log. The lock is held until a twin of this request has committed, so that its answer is seen from then on,
-- or has rolled back, which a client may learn a moment earlier: hence the short wait, after which it is refused.
create function access.begin_once(route text, key_hash bytea, request_hash bytea, other_hash bytea default null)
returns void
language plpgsql volatile security definer set lock_timeout = '250ms' set search_path = pg_catalog, pg_temp as $$
declare
  kept json;
begin
  begin
    perform pg_advisory_xact_lock(hashtextextended('once:' || encode(access.answer_id(route, key_hash), 'hex'), 0));
  exception when lock_not_available then
    perform access.refuse('illegal_state', 'A request with this Idempotency-Key is being answered: repeat it in a moment.');
  end;
  kept := access.kept_answer(route, key_hash, request_hash, other_hash);
  if kept is not null then
    raise exception using errcode = 'FR200', message = 'answered_before', table = kept::text;
  end if;
end $$;

-- Keeps the answer in the transaction that created the resource, and returns the resource. One that is older than 24
-- hours, and was not purged yet, is replaced.
create function access.keep_answer(route text, key_hash bytea, request_hash bytea, resource json, secrets text) returns json
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into access.kept_answers as k (id, user_id, request_hash, resource, secrets_encrypted)
  values (access.answer_id(route, key_hash), access.principal(), request_hash, resource, secrets)
  on conflict (id) do update set
    request_hash = excluded.request_hash,
    resource = excluded.resource,
    secrets_encrypted = excluded.secrets_encrypted,
    created_at = excluded.created_at
  where k.created_at <= now() - interval '24 hours';
  if not found then
    perform access.refuse('illegal_state', 'A request with this Idempotency-Key is being answered: repeat it in a moment.');
  end if;
  return resource;
end $$;

grant execute on function
  access.begin_once(text, bytea, bytea, bytea),
  access.keep_answer(text, bytea, bytea, json, text),
  access.kept_answer(text, bytea, bytea, bytea)
to freehold_app;
