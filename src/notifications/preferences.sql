-- Of what a person is told, and how.
--   access.usual_notification_preferences   what everybody gets who has not chosen
--   access.notification_preferences         what the caller chose
--   access.set_notification_preferences     chooses
--
-- Threat: somebody with another's session silences what would tell the other of it. So what endangers an account is mailed
-- in any case, and each choice is an entry of the audit.

-- What everybody gets who has not chosen. What endangers an account is mailed in any case (src/mail), so that notices of
-- security are not mailed a second time.
create function access.usual_notification_preferences() returns jsonb
language sql immutable
return '{
  "security": {"in_app": true, "mail": "off"},
  "competency": {"in_app": true, "mail": "digest"},
  "invitation": {"in_app": true, "mail": "digest"},
  "delegation": {"in_app": true, "mail": "now"},
  "license": {"in_app": true, "mail": "digest"}
}'::jsonb;

create function access.notification_preferences() returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  return case
    when access.principal() is not null then access.usual_notification_preferences() || coalesce(
      (select p.kinds from freehold.notification_preferences p where p.user_id = access.principal()), '{}')
  end;
end $$;

create function access.set_notification_preferences(wanted jsonb) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if access.principal() is null then
    return null;
  end if;
  -- What is no choice would undo whatever tells this person of something. The Worker lets none through.
  if exists (select from jsonb_each(wanted) k where coalesce(
      jsonb_typeof(k.value -> 'in_app') <> 'boolean' or k.value ->> 'mail' not in ('now', 'digest', 'off'), true)) then
    raise exception using errcode = '22023', message = 'These are no preferences.';
  end if;
  insert into freehold.notification_preferences as p (user_id, kinds) values (access.principal(), wanted)
  on conflict (user_id) do update set kinds = excluded.kinds, updated_at = now();
  -- What waits for a mail that is not wanted any more is not mailed, but what is mailed whatever is chosen (access.notify).
  with waiting as (
    select n.id
    from freehold.notifications n
    where n.user_id = access.principal()
      and n.mail is not null
      and access.notification_preferences() -> n.kind ->> 'mail' = 'off'
      and n.event not in ('suspicious_activity', 'login_refused')
    order by n.id
    for update
  )
  update freehold.notifications n set mail = null from waiting w where n.id = w.id;
  return access.notification_preferences();
end $$;

call access.audited('freehold.notification_preferences', 'notification_preferences', keys => '{user_id}');

grant execute on function
  access.notification_preferences(),
  access.set_notification_preferences(jsonb)
to freehold_app;
