-- Erasing people whose time has come, for the scheduled job, as the owner.
--   access.erasure_due   when the next one is due
--   access.erase_due     erases one person, a bounded number of details of the audit at a time
--
-- Threat: something of the person stays: in a table that was forgotten (registry.sql), in what the scrubbing itself wrote
-- to the audit, or because the job died half-way; or with the person goes what proves that somebody acted. So the rows are
-- scrubbed in one transaction, which notes what the person is found by (`traces`); their details of the audit are erased
-- after that, those of the scrubbing included, until there are none, and only then is the request done and what it noted
-- forgotten. Entries stay, with the hash of each detail. The last administrator is not erased: the job looks again a day
-- later.

create function access.erasure_due() returns timestamptz
language sql stable set search_path = pg_catalog, pg_temp as $$
  select min(e.erase_at) from freehold.erasures e where e.cancelled_at is null and e.erased_at is null
$$;

-- Works on the request that waits longest: {is_done, erased, postponed}. `is_done`: nothing is due any more.
create function access.erase_due(at_most integer) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  e freehold.erasures;
  ids uuid[];
begin
  select * into e
  from freehold.erasures x
  where x.cancelled_at is null and x.erased_at is null and x.erase_at <= now()
  order by x.erase_at, x.id
  limit 1;
  if e.id is null then
    return jsonb_build_object('is_done', true, 'erased', 0, 'postponed', 0);
  end if;
  -- In the order of a login; and what was cancelled meanwhile is left.
  perform access.lock_login(e.user_id);
  select * into e
  from freehold.erasures x
  where x.id = e.id and x.cancelled_at is null and x.erased_at is null
  for update;
  if e.id is null then
    return jsonb_build_object('is_done', false, 'erased', 0, 'postponed', 0);
  elsif e.traces is null then
    begin
      e.traces := access.scrub_person(e.user_id);
    exception when sqlstate 'FH409' then
      update freehold.erasures x set erase_at = now() + interval '1 day' where x.id = e.id;
      return jsonb_build_object('is_done', false, 'erased', 0, 'postponed', 1);
    end;
    update freehold.erasures x
    set traces = e.traces,
      cancel_hash = null,
      reason = access.without_words(x.reason, array(select jsonb_array_elements_text(e.traces -> 'words')))
    where x.id = e.id
    returning * into e;
  end if;
  ids := access.details_of(e.user_id, e.traces, at_most);
  perform access.erase_detail(ids);
  if cardinality(ids) >= at_most then
    return jsonb_build_object('is_done', false, 'erased', 0, 'postponed', 0);
  end if;
  update freehold.erasures x set erased_at = now(), traces = null where x.id = e.id;
  perform access.record(
    'USER_ERASED', 'erase', 'user', e.user_id::text, null,
    jsonb_build_object(
      'erasure_id', e.id, 'requested_by', e.requested_by, 'requested_at', e.requested_at, 'reason', e.reason),
    40
  );
  return jsonb_build_object('is_done', access.erasure_due() is null or access.erasure_due() > now(), 'erased', 1,
    'postponed', 0);
end $$;

-- Scrubs the rows of a person by registry.sql, and returns what the details of the audit are found by: {words, things,
-- places}, of which the last are pairs of address and agent. Raises FH409 for the last administrator.
create function access.scrub_person(subject uuid) returns jsonb
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  words text[] := access.known_by(subject);
  networks text[];
  things text[];
  places jsonb;
  t record;
begin
  select
    array_agg(distinct access.failing_network(a.address)),
    jsonb_agg(distinct jsonb_build_array(a.address, a.agent)) filter (where a.agent is not null)
  into networks, places
  from (
    select s.address, null as agent from freehold.sessions s where s.user_id = subject
    union
    select d.address, d.agent
    from freehold.audit_log l
      join freehold.audit_detail d on d.log_id = l.id
    where l.user_id = subject
  ) a
  where a.address is not null;
  select array_agg(y.id::text) into things
  from (
    select s.id from freehold.sessions s where s.user_id = subject
    union all
    select k.id from freehold.api_keys k where k.user_id = subject
    union all
    select k.id from freehold.passkeys k where k.user_id = subject
    union all
    select d.id from freehold.delegations d where subject in (d.delegator_id, d.delegate_id) or access.mentions(d.reason, words)
  ) y;
  for t in select * from access.personal_tables() p where p.fate <> 'keep' order by p.place loop
    execute format(
      case when t.fate = 'delete' then 'delete from %1$s x where (%2$s)' else 'update %1$s x set %3$s where (%2$s)' end
        || ' and ($1, $2, $3) is not null',
      t.relation, concat_ws(' or ', '(' || t.whose || ')', '(' || t.also || ')'), t.fate)
    using subject, words, coalesce(networks, '{}');
  end loop;
  return jsonb_build_object(
    'words', words, 'things', coalesce(things, '{}'), 'places', coalesce(places, '[]'));
end $$;

-- What a person was known by: addresses, numbers and usernames, those of before too, but none that is somebody else's by
-- now. The longest first: a username may be the beginning of an address.
create function access.known_by(subject uuid) returns text[]
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(array_agg(w.word order by length(w.word) desc, w.word), '{}')
  from (
    select unnest(array[u.username, u.email, u.phone]) from freehold.users u where u.id = subject
    union
    select m.recipient from freehold.mails m where m.user_id = subject
    union
    select k.target from freehold.one_time_tokens k where k.user_id = subject
    union
    select e.value #>> '{}'
    from freehold.audit_log l
      join freehold.audit_detail d on d.log_id = l.id
      cross join lateral (select d.before union all select d.after) s (state)
      cross join lateral jsonb_each(case when jsonb_typeof(s.state) = 'object' then s.state else '{}' end) e
    where l.resource_type = 'user'
      and l.resource_id = subject::text
      and e.key in ('username', 'email', 'phone')
      and jsonb_typeof(e.value) = 'string'
  ) w (word)
  where length(w.word) > 2
    and not exists (
      select
      from freehold.users u
      where u.id <> subject and (u.email = w.word or u.username = w.word or u.phone = w.word)
    )
$$;

-- Entries whose detail is about the person, at most so many: what they did, what was done to them or to what was theirs, and
-- what names them; and what failed of nobody known from where they came from, with their agent. Who was given which role is
-- no detail of theirs.
create function access.details_of(subject uuid, traces jsonb, at_most integer) returns uuid[]
language sql stable set search_path = pg_catalog, pg_temp as $$
  with known as materialized (
    select
      array(select jsonb_array_elements_text(traces -> 'words')) as words,
      array(select jsonb_array_elements_text(traces -> 'things')) as things
  )
  select array(
    select l.id
    from known k
      cross join freehold.audit_log l
      join freehold.audit_detail d on d.log_id = l.id
    where l.activity_type <> 'AUDIT_ERASED'
      and (
        l.user_id = subject
        or l.resource_type = 'user' and l.resource_id = subject::text
        or l.resource_id = any (k.things)
        or l.user_id is null and traces -> 'places' @> jsonb_build_array(jsonb_build_array(d.address, d.agent))
        or d.user_name = any (k.words)
        or access.mentions(concat_ws(' ', d.path, d.before::text, d.after::text), k.words)
      )
    limit at_most
  )
$$;

-- A text with `***` for each of these words.
create function access.without_words(said text, words text[]) returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
  word text;
begin
  foreach word in array words loop
    said := regexp_replace(said, access.literal(word), '***', 'gi');
  end loop;
  return said;
end $$;
