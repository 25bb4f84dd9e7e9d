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
  names text[];
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
    names := access.called(e.user_id);
    begin
      e.traces := access.scrub_person(e.user_id);
    exception when sqlstate 'FH409' then
      update freehold.erasures x set erase_at = now() + interval '1 day' where x.id = e.id;
      return jsonb_build_object('is_done', false, 'erased', 0, 'postponed', 1);
    end;
    -- Those that were cancelled, too. What the person wrote themselves goes.
    update freehold.erasures x
    set reason = case when x.requested_by is not null then access.without_words(x.reason, names) end
    where x.user_id = e.user_id;
    update freehold.erasures x
    set traces = e.traces, cancel_hash = null
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

-- What a person was known by: usernames, and addresses and numbers that were shown to be theirs, those of before too. Nobody
-- else has or had one of them: whoever takes the name, the number or the id of something else would take along what is
-- said of it. An address or a number that nobody verified, and a change of it, is in the person's own rows and entries.
create function access.known_by(subject uuid) returns text[]
language sql stable set search_path = pg_catalog, pg_temp as $$
  with said (user_id, key, word, is_verified) as materialized (
    select u.id::text, w.key, w.word, w.is_verified
    from freehold.users u
      cross join lateral (values
        ('username', u.username, true), ('email', u.email, u.email_verified), ('phone', u.phone, u.phone_verified)
      ) w (key, word, is_verified)
    union all
    -- Of these types nobody records entries of their own (access.is_built_in_activity). A change of an address or a number
    -- has in `before` that it was verified.
    select l.resource_id, w.key, s.state ->> w.key, w.verified is null or s.is_before and s.state ->> w.verified = 'true'
    from freehold.audit_log l
      join freehold.audit_detail d on d.log_id = l.id
      cross join lateral (values (d.before, true), (d.after, false)) s (state, is_before)
      cross join (values
        ('username', null), ('email', 'email_verified'), ('phone', 'phone_verified')
      ) w (key, verified)
    where l.resource_type = 'user'
      and l.activity_type in ('USER_CREATED', 'USER_UPDATED', 'PROFILE_UPDATE')
      and jsonb_typeof(s.state -> w.key) = 'string'
  )
  select coalesce(array_agg(distinct w.word), '{}')
  from said w
  where w.user_id = subject::text
    and w.is_verified
    and length(w.word) > 2
    and case w.key
      when 'email' then strpos(w.word, '@') > 1
      when 'phone' then access.is_phone(w.word)
      else strpos(w.word, '@') = 0
    end
    and not exists (select from said o where o.word = w.word and o.user_id <> subject::text)
$$;

-- Whether a text is written as a number, and is no address of a network.
create function access.is_phone(said text) returns boolean
language sql immutable
return said ~ '^\+?[0-9][0-9 ()./-]{5,}$' and said !~ '^[0-9]{1,3}(\.[0-9]{1,3}){3}$';

-- What is taken out of the reason of an administrator: also names, and what nobody verified. Parts of names of two letters
-- are words as well ("de", "la").
create function access.called(subject uuid) returns text[]
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(array_agg(w.word order by length(w.word) desc, w.word), '{}')
  from (
    select unnest(array[u.username, u.email, u.phone, u.given_name, u.family_name, u.name])
    from freehold.users u
    where u.id = subject
    union
    select p.part
    from freehold.users u
      cross join lateral regexp_split_to_table(concat_ws(' ', u.given_name, u.family_name), '\s+') p (part)
    where u.id = subject and length(p.part) > 2
    union
    select unnest(access.known_by(subject))
  ) w (word)
  where length(w.word) > 1
$$;

-- Entries whose detail is about the person, at most so many: what they did, what was done to them or to what was theirs, and
-- what names them in what it says, not where it was asked; and what failed of nobody known from where they came from,
-- with their agent. Who was given which role is no detail of theirs.
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
        -- What somebody who is not known gave as their name.
        or l.user_id is null and d.user_name = any (k.words) and d.user_name <> 'system'
        or access.is_named_in(d.before, k.words)
        or access.is_named_in(d.after, k.words)
      )
    limit at_most
  )
$$;

-- A text with `***` for each of these words, where it stands alone.
create function access.without_words(said text, words text[]) returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
  word text;
begin
  foreach word in array words loop
    said := regexp_replace(said, format('(?<![[:alnum:]])%s(?![[:alnum:]])', access.literal(word)), '***', 'gi');
  end loop;
  return said;
end $$;
