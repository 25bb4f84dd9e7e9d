-- The export of a person's own data (GDPR 20). Both functions are about the admitted user and nobody else.
--   access.export_person       everything but the audit, by the tables of registry.sql; recorded
--   access.export_activities   a page of what the person did, oldest first
--
-- Threat: somebody reads another person's data, or a secret, by an export: what they changed of others, as an administrator
-- that they are no more; or has the database read all of it again and
-- again. So whose it is comes from the claims, registry.sql withholds what is secret, an API key exports nothing, and of
-- one person there are ten an hour.

-- {table: [row, ...]}, and `user` as one row; null: this person had ten within the hour.
create function access.export_person() returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  subject uuid := access.principal();
  all_of jsonb := '{}';
  found jsonb;
  t record;
begin
  if subject is null or access.key() is not null then
    perform access.refuse('forbidden', 'Your data is exported with a session, not with an API key.');
  end if;
  -- Of two at once one counts after the other.
  perform from freehold.users x where x.id = subject for no key update;
  if (
    select count(*)
    from freehold.audit_log l
    where l.user_id = subject
      and l.activity_type = 'EXPORT'
      and l.resource_type = 'user'
      and l.at > now() - interval '1 hour'
  ) >= 10 then
    return null;
  end if;
  for t in select * from access.personal_tables() p where p.name is not null order by p.place loop
    execute format(
      'select coalesce(jsonb_agg(to_jsonb(y)), ''[]'') from (select %s from %s x where %s) y',
      array_to_string(t.exported, ', '), t.relation, t.whose)
    into found
    using subject;
    all_of := all_of || jsonb_build_object(t.name, case when t.name = 'user' then found -> 0 else found end);
  end loop;
  perform access.record('EXPORT', 'export', 'user', subject::text, null, jsonb_build_object('personal_data', true), 20);
  return all_of;
end $$;

-- Activities of the admitted user after a place (null: from the beginning), at most `rows` and about `bytes`; {data, next},
-- where `next` is null at the end.
create function access.export_activities(after_at timestamptz, after_id uuid, rows integer, bytes integer) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  subject uuid := access.principal();
begin
  if subject is null or access.key() is not null then
    perform access.refuse('forbidden', 'Your data is exported with a session, not with an API key.');
  end if;
  return (
    with page as materialized (
      -- By the index of entries under checkpoints, and those that have none yet.
      (
        select l.* from freehold.audit_log l
        where l.user_id = subject and l.checkpoint is not null
          and (after_at is null or (l.at, l.id) > (after_at, after_id))
        order by l.at, l.id
        limit rows
      )
      union all
      (
        select l.* from freehold.audit_log l
        where l.user_id = subject and l.checkpoint is null
          and (after_at is null or (l.at, l.id) > (after_at, after_id))
        order by l.at, l.id
        limit rows
      )
      order by at, id
      limit rows
    ), shown as (
      select
        p.at,
        p.id,
        access.audit_entry(p.id)
          || case when access.is_about(p, d, subject) then '{}' else '{"before": null, "after": null, "path": null}' end::jsonb
          as entry,
        sum(coalesce(pg_column_size(d.before), 0) + coalesce(pg_column_size(d.after), 0) + 500)
          over (order by p.at, p.id) - coalesce(pg_column_size(d.before), 0) - coalesce(pg_column_size(d.after), 0) as so_far
      from page p
        left join freehold.audit_detail d on d.log_id = p.id
    ), taken as (
      select * from shown s where s.so_far <= bytes + 500
    )
    select jsonb_build_object(
      'data', coalesce(jsonb_agg(t.entry order by t.at, t.id), '[]'),
      'next', case when count(*) = rows or count(*) < (select count(*) from page) then (
        select jsonb_build_array(z.at, z.id) from taken z order by z.at desc, z.id desc limit 1) end)
    from taken t);
end $$;

-- Whether what an entry says is about this person: themselves, or what is theirs alone.
create function access.is_about(l freehold.audit_log, d freehold.audit_detail, subject uuid) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select case
    when l.resource_type = 'user' then coalesce(l.resource_id = subject::text, false)
    when l.resource_type in ('session', 'api_key', 'passkey', 'external_identity') then
      coalesce(coalesce(d.after, d.before) ->> 'user_id' = subject::text, false)
      or exists (select from freehold.sessions x where x.id::text = l.resource_id and x.user_id = subject)
      or exists (select from freehold.api_keys x where x.id::text = l.resource_id and x.user_id = subject)
      or exists (select from freehold.passkeys x where x.id::text = l.resource_id and x.user_id = subject)
      or exists (select from freehold.external_identities x where x.id::text = l.resource_id and x.user_id = subject)
    else false
  end
$$;

grant execute on function
  access.export_person(),
  access.export_activities(timestamptz, uuid, integer, integer)
to freehold_app;
