-- The outbox: mails and text messages are enqueued by the transaction that is the reason for them, and sent after it.
--   access.enqueue_mail        enqueues one; called by the functions of other files
--   access.has_enqueued_mail   whether this transaction did, so that the Worker delivers at once and not with the
--                              next scheduled run
--   access.claim_mails         for the sender: claims due mails, for a minute
--   access.finish_mails        for the sender: records the outcome of each attempt
--   access.next_mail_at        for the scheduled job: when the outbox has something to send
-- A mail is attempted for a day, 1, 2, 4 ... 60 minutes apart, and is then given up (`dead`). Its secrets, encrypted
-- by the Worker, are removed when it is sent or given up. A mail beyond a limit (limits.sql) is dropped at once.
--
-- Threat: somebody who runs SQL as the app login reads recipients, sends arbitrary mails, or keeps a mail from being
-- sent. So that login can access neither freehold.mails nor freehold.mail_attempts, which have no policy and no
-- grant, and the sender must pass the system key.

-- Enqueues a mail and returns its id; null: it is beyond a limit, and dropped. `subject` is the recipient's user id,
-- whose locale applies; null for a registrant, to whom `locale` applies.
create function access.enqueue_mail(
  kind text,
  subject uuid,
  recipient text,
  data jsonb default '{}',
  secrets_encrypted text default null,
  locale text default null,
  channel text default 'email'
) returns uuid
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  made freehold.mails;
  reached text;
begin
  perform access.notify_of_mail(enqueue_mail.kind, subject, enqueue_mail.data);
  insert into freehold.mails (id, kind, channel, user_id, recipient, locale, data, secrets_encrypted, trace_id)
  values (
    gen_random_uuid(),
    enqueue_mail.kind,
    enqueue_mail.channel,
    subject,
    enqueue_mail.recipient,
    coalesce((select u.locale from freehold.users u where u.id = subject), enqueue_mail.locale, 'en'),
    enqueue_mail.data,
    enqueue_mail.secrets_encrypted,
    access.actor() ->> 'trace_id'
  )
  returning * into made;
  perform set_config('access.enqueued', 'yes', true);
  reached := access.limit_reached(made);
  if reached is not null then
    delete from freehold.mails m where m.id = made.id;
    insert into access.dropped_mails (id, kind, channel, reached, trace_id)
    values (made.id, made.kind, made.channel, reached, made.trace_id);
    return null;
  end if;
  return made.id;
end $$;

-- Whether this transaction enqueued a mail, or dropped one: the Worker sends what is due and logs what was dropped.
create function access.has_enqueued_mail() returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(current_setting('access.enqueued', true), '') = 'yes'
$$;

-- Claims up to `at_most` mails that are due on the given channels, for a minute, and begins an attempt of each. The
-- attempt counts as failed until access.finish_mails says otherwise: a mail that makes its sender crash does not hold
-- up the others. With each is what it shows of the settings, `look`.
--
-- `name` is null for a registrant, and for a mail to an address that is not verified yet (`email_change`): its reader
-- must not see a text that a stranger chose.
create function access.claim_mails(tenant_id uuid, system_key text, at_most integer, channels jsonb) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  claimed jsonb;
  tenant freehold.tenant := access.check_system(tenant_id, system_key);
begin
  with due as (
    select m.id
    from freehold.mails m
    where m.state = 'queued'
      and m.next_at <= now()
      and (m.lease_until is null or m.lease_until <= now())
      and channels ? m.channel
    order by m.next_at, m.created_at, m.id
    limit at_most
    for update skip locked
  ), taken as (
    update freehold.mails m
    set attempts = m.attempts + 1,
      lease_until = now() + interval '1 minute',
      next_at = access.retry_mail_at(m.attempts + 1)
    from due
    where m.id = due.id
    returning m.*
  ), tried as (
    insert into freehold.mail_attempts (id, mail_id)
    select gen_random_uuid(), t.id from taken t
    returning id, mail_id
  )
  select jsonb_agg(
    jsonb_build_object(
      'id', t.id,
      'attempt', a.id,
      'attempts', t.attempts,
      'kind', t.kind,
      'channel', t.channel,
      'recipient', t.recipient,
      'locale', t.locale,
      'data', t.data,
      'secrets_encrypted', t.secrets_encrypted,
      'trace_id', t.trace_id,
      'name', case when t.kind <> 'email_change' then coalesce(u.given_name, u.username) end,
      'timezone', u.timezone,
      'look', jsonb_build_object('name', tenant.name, 'accent_color', tenant.accent_color, 'links', tenant.links)
    )
    order by t.created_at, t.id
  )
  into claimed
  from taken t
  join tried a on a.mail_id = t.id
  left join freehold.users u on u.id = t.user_id;
  return coalesce(claimed, '[]');
end $$;

-- Finishes attempts: [{attempt, attempts, outcome, detail}]. Returns the ids of the mails that are given up.
--   accepted   sent
--   refused    permanently: given up
--   failed     attempted again, until a day or 40 attempts have passed
--   untried    the attempt did not begin: the mail is due again as before
-- A finished attempt does not change. An attempt that is not the newest of its mail counts only if it was accepted:
-- then the mail is sent, even if it has been claimed again since.
create function access.finish_mails(tenant_id uuid, system_key text, results jsonb) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  r record;
  m freehold.mails;
  dead jsonb := '[]';
begin
  perform access.check_system(tenant_id, system_key);
  for r in
    select x.attempt, x.attempts, x.outcome, left(x.detail, 500) as detail
    from jsonb_to_recordset(results) as x (attempt uuid, attempts integer, outcome text, detail text)
  loop
    select x.* into m
    from freehold.mails x
    join freehold.mail_attempts a on a.mail_id = x.id
    where a.id = r.attempt and a.finished_at is null
    for update;
    continue when m.id is null;
    if r.outcome = 'untried' then
      delete from freehold.mail_attempts a where a.id = r.attempt;
    else
      update freehold.mail_attempts a
      set finished_at = now(), outcome = r.outcome, detail = r.detail
      where a.id = r.attempt;
    end if;
    if m.state <> 'queued' or (r.outcome <> 'accepted' and m.attempts <> r.attempts) then
      continue;
    elsif r.outcome = 'accepted' then
      update freehold.mails x
      set state = 'sent', secrets_encrypted = null, finished_at = now(), lease_until = null
      where x.id = m.id;
    elsif r.outcome = 'untried' then
      update freehold.mails x
      set attempts = x.attempts - 1, next_at = x.created_at, lease_until = null
      where x.id = m.id;
    elsif r.outcome = 'refused' or m.attempts >= 40 or m.created_at <= now() - interval '1 day' then
      update freehold.mails x
      set state = 'dead', secrets_encrypted = null, finished_at = now(), lease_until = null
      where x.id = m.id;
      dead := dead || jsonb_build_array(m.id);
    else
      update freehold.mails x
      set next_at = access.retry_mail_at(m.attempts), lease_until = null
      where x.id = m.id;
    end if;
  end loop;
  return dead;
end $$;

-- When the next mail of the outbox is due on the given channels; null: there is none.
create function access.next_mail_at(channels jsonb) returns timestamptz
language sql stable set search_path = pg_catalog, pg_temp as $$
  select min(greatest(m.next_at, m.lease_until))
  from freehold.mails m
  where m.state = 'queued' and channels ? m.channel
$$;

-- When a mail is attempted again after so many attempts: in 1, 2, 4 ... 60 minutes.
create function access.retry_mail_at(attempts integer) returns timestamptz
language sql stable
return now() + make_interval(mins => least(60, (2 ^ least(attempts - 1, 6))::integer));

grant execute on function
  access.claim_mails(uuid, text, integer, jsonb),
  access.finish_mails(uuid, text, jsonb)
to freehold_app;
