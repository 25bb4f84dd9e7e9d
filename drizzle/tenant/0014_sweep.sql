-- What has outlived its purpose goes, once a day (docs/storage.md says which lives how long). What was done is in the audit, which stays.
create table access.sweeps (
  last_at timestamptz not null default '-infinity'
);
--> statement-breakpoint
alter table access.sweeps enable row level security;
--> statement-breakpoint
insert into access.sweeps default values;
--> statement-breakpoint
-- At most so many of each kind; where there are more, the next visit goes on.
create function access.sweep(at_most integer) returns void language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  swept integer;
  most integer := 0;
begin
  update access.sweeps set last_at = now() where last_at < now() - interval '1 day';
  if not found then
    return;
  end if;
  -- People type passwords where a username goes.
  delete from freehold.login_attempts where id in (
    select a.id from freehold.login_attempts a where a.created_at < now() - interval '1 day' limit at_most for update skip locked);
  get diagnostics swept = row_count;
  most := greatest(most, swept);
  delete from freehold.login_guards where key in (
    select g.key from freehold.login_guards g where g.key like 'unknown:%' and g.failed_at < now() - interval '1 day'
      and (g.locked_until is null or g.locked_until < now()) limit at_most for update skip locked);
  get diagnostics swept = row_count;
  most := greatest(most, swept);
  delete from freehold.one_time_tokens where token_hash in (
    select k.token_hash from freehold.one_time_tokens k where k.expires_at < now() - interval '1 day' limit at_most for update skip locked);
  get diagnostics swept = row_count;
  most := greatest(most, swept);
  delete from freehold.registrations where token_hash in (
    select r.token_hash from freehold.registrations r where r.expires_at < now() - interval '1 day' limit at_most for update skip locked);
  get diagnostics swept = row_count;
  most := greatest(most, swept);
  -- Those of a session go together: a token that was used tells a theft as long as its session lives.
  delete from freehold.refresh_tokens where token_hash in (
    select l.token_hash from freehold.refresh_tokens l where l.expires_at < now() - interval '1 day' limit at_most for update skip locked);
  get diagnostics swept = row_count;
  most := greatest(most, swept);
  -- By a mail that was tried so often and never settled, whoever sends it is lost.
  update freehold.mails m set state = 'dead', sealed = null, finished_at = now(), lease_until = null
  where m.state = 'queued' and m.attempts >= 40 and (m.lease_until is null or m.lease_until < now());
  with old as materialized (
    select m.id from freehold.mails m where m.finished_at < now() - interval '90 days' limit at_most for update skip locked
  ), tried as (
    delete from freehold.mail_attempts a using old where a.mail_id = old.id
  )
  delete from freehold.mails m using old where m.id = old.id;
  get diagnostics swept = row_count;
  if greatest(most, swept) >= at_most then
    update access.sweeps set last_at = '-infinity';
  end if;
end $$;
--> statement-breakpoint
revoke execute on all functions in schema access from public;
