-- How many mails and text messages are sent: to one recipient within an hour (mail_per_recipient_hour), and by the whole
-- tenant within a day (mail_per_day). A mail beyond a limit is dropped, whatever its kind, and the Worker logs it; who
-- asked for it gets the answer that they always get.
--   access.is_strangers_mail    whether anybody can cause a mail of a kind, without a login
--   access.limit_reached        counts a mail, or says which limit it is beyond; called by access.enqueue_mail
--   access.wait_as_if_mailed    for public endpoints that sent no mail
--   access.warnings_left        how many warnings that a password expires the day has room for
--   access.take_dropped_mails   for the sender: what was dropped, to be logged
--
-- Threat: somebody has the tenant send mail to people who did not ask for any, until they, or their mail server, take
-- the tenant for a spammer; or a stranger uses a limit up, so that the mail that a person asks for is not sent. So mails
-- that strangers can cause are counted apart from those that take a login. Of a recipient's, each of the two has the
-- whole limit; of the day's, strangers get three quarters. Of the mails that strangers can cause for one recipient the
-- last is kept for one that recovers an account: notices and logins by mail do not use up what a person needs for that.
-- What a user has sent to an address or a number that they name is counted by that user, too. The first notice of a
-- changed password or address, or of a new API key, within an hour always goes.

-- Whether anybody can cause a mail of this kind for anybody: it takes an address and no login.
create function access.is_strangers_mail(kind text) returns boolean
language sql immutable
return kind in (
  'register', 'register_known', 'email_verify', 'password_reset', 'email_login', 'account_locked', 'device_locked');

-- Counts a mail that was just inserted: null, or the setting whose limit it is beyond. The day's row stays locked until
-- the transaction ends, so that those who enqueue are counted one after another. Nothing is locked after it: the mail is
-- inserted before, which locks its user.
create function access.limit_reached(made freehold.mails) returns text
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant;
  is_strangers boolean := access.is_strangers_mail(made.kind);
  strangers integer := case when is_strangers then 1 else 0 end;
  most integer;
begin
  select * into strict t from freehold.tenant;
  if access.is_first_notice(made) then
    insert into access.mail_counter as c (day, by_strangers, by_others, notices)
    values ((now() at time zone 'UTC')::date, 0, 0, 1)
    on conflict (one) do update
    set day = greatest(c.day, excluded.day),
      by_strangers = case when c.day < excluded.day then 0 else c.by_strangers end,
      by_others = case when c.day < excluded.day then 0 else c.by_others end,
      notices = 1 + case when c.day < excluded.day then 0 else c.notices end
    where c.day < excluded.day or c.notices < t.mail_per_day;
    return case when not found then 'mail_per_day' end;
  end if;
  insert into access.mail_counter as c (day, by_strangers, by_others)
  values ((now() at time zone 'UTC')::date, strangers, 1 - strangers)
  on conflict (one) do update
  set day = greatest(c.day, excluded.day),
    by_strangers = excluded.by_strangers + case when c.day < excluded.day then 0 else c.by_strangers end,
    by_others = excluded.by_others + case when c.day < excluded.day then 0 else c.by_others end,
    notices = case when c.day < excluded.day then 0 else c.notices end
  where c.day < excluded.day
    or (
      c.by_strangers + c.by_others < t.mail_per_day
      and (not is_strangers or c.by_strangers < access.strangers_share(t))
    );
  if not found then
    return 'mail_per_day';
  end if;
  most := case
    when is_strangers and made.kind not in ('register', 'password_reset') then greatest(1, t.mail_per_recipient_hour - 1)
    else t.mail_per_recipient_hour
  end;
  -- A mail that is dropped does not count for the day.
  update access.mail_counter c
  set by_strangers = c.by_strangers - strangers, by_others = c.by_others - (1 - strangers)
  where (
    select count(*)
    from freehold.mails m
    where access.recipient_key(m.channel, m.recipient) = access.recipient_key(made.channel, made.recipient)
      and m.created_at > now() - interval '1 hour'
      and access.is_strangers_mail(m.kind) = is_strangers
  ) > most or (
    made.kind = 'phone_code'
    and (
      select count(*)
      from freehold.mails m
      where m.user_id = made.user_id
        and m.kind = made.kind
        and m.created_at > now() - interval '1 hour'
      ) > t.mail_per_recipient_hour
  );
  return case when found then 'mail_per_recipient_hour' end;
end $$;

-- Whether a mail tells somebody that their password, address or second factor was changed, or that they have a new API
-- key, for the first time within an hour: whoever does that could use the other limits up before, so that nobody is told.
-- Such mails have a day's limit of their own.
create function access.is_first_notice(made freehold.mails) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select made.kind in (
      'api_key_created', 'email_changed', 'identity_added', 'identity_removed', 'mfa_disabled', 'mfa_enabled', 'mfa_reset',
      'passkey_added', 'passkey_copied', 'passkey_removed', 'password_changed', 'erasure_requested', 'erasure_by_admin',
      'impersonated')
    and not exists (
      select
      from freehold.mails m
      where m.kind = made.kind
        and m.id <> made.id
        and access.recipient_key(m.channel, m.recipient) = access.recipient_key(made.channel, made.recipient)
        and m.created_at > now() - interval '1 hour')
$$;

-- Under what a recipient is counted: an address is stored normalised, and what follows a + in it reaches the same mailbox;
-- a number is the same however it is written. The index mails_recipient is on this expression.
create function access.recipient_key(channel text, recipient text) returns text
language sql immutable
return case
  when channel = 'sms' then regexp_replace(regexp_replace(recipient, '[^0-9]', '', 'g'), '^00', '')
  else regexp_replace(recipient, '[+][^@]*@', '@')
end;

-- How many of a day's mails strangers can cause.
create function access.strangers_share(t freehold.tenant) returns integer
language sql immutable
return ceil(t.mail_per_day * 0.75)::integer;

-- Waits as whoever enqueues a mail does, for the day's row: while many are enqueued, an address that is mailed nothing
-- must not be answered sooner than one that is.
create function access.wait_as_if_mailed() returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  perform from access.mail_counter for no key update;
end $$;

-- How many warnings the scheduled job may send today: they leave a quarter of the day's mails to people, too.
create function access.warnings_left() returns integer
language sql stable set search_path = pg_catalog, pg_temp as $$
  select greatest(0, access.strangers_share(t) - coalesce(
    (
      select c.by_strangers + c.by_others
      from access.mail_counter c
      where c.day >= (now() at time zone 'UTC')::date
    ),
    0))
  from freehold.tenant t
$$;

-- Takes up to `at_most` mails that were dropped: [{id, kind, channel, limit, trace_id}]. The line that the Worker logs of
-- each is what stays, so that strangers fill no table.
create function access.take_dropped_mails(tenant_id uuid, system_key text, at_most integer) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  taken jsonb;
begin
  perform access.check_system(tenant_id, system_key);
  with dropped as (
    delete from access.dropped_mails
    where id in (
      select m.id
      from access.dropped_mails m
      limit at_most
      for update skip locked
    )
    returning *
  )
  select jsonb_agg(
    jsonb_build_object('id', d.id, 'kind', d.kind, 'channel', d.channel, 'limit', d.reached, 'trace_id', d.trace_id)
    order by d.created_at, d.id
  )
  into taken
  from dropped d;
  return coalesce(taken, '[]');
end $$;

grant execute on function access.take_dropped_mails(uuid, text, integer) to freehold_app;
