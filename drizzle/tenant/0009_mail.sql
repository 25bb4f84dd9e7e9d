-- The outbox: what is to be sent, written in the transaction that gave the occasion.
--
-- Threat: whoever runs SQL as the app login reads who is written to, sends what they like, or keeps a mail from being sent. So the login
-- reaches none of these tables, and who sends shows the system's key.

-- Puts a mail into the outbox, in the person's language, or in the one that is given for somebody who is nobody yet. Its id.
create function access.post(kind text, person uuid, recipient text, data jsonb default '{}', sealed text default null, locale text default null, channel text default 'email')
returns uuid language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  made uuid := gen_random_uuid();
begin
  insert into freehold.mails (id, kind, channel, user_id, recipient, locale, data, sealed, trace_id)
  values (made, post.kind, post.channel, person, post.recipient, coalesce((select u.locale from freehold.users u where u.id = person), post.locale, 'en'), post.data, post.sealed,
    access.actor() ->> 'trace_id');
  perform set_config('access.posted', 'yes', true);
  return made;
end $$;
--> statement-breakpoint
-- Whether this transaction put something into the outbox.
create function access.posted() returns boolean language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(current_setting('access.posted', true), '') = 'yes'
$$;
--> statement-breakpoint
revoke execute on all functions in schema access from public;
