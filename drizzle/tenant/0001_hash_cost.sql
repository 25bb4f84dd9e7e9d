-- Made by `npm run migration` for every tenant’s database. Do not edit it once it has landed.
-- Tables:
--   unchanged
-- Definitions:
--   drops and creates function access.begin_login
--   drops and creates function access.hash_parameters_of

set local check_function_bodies = off;
--> statement-breakpoint
drop function access.begin_login(uuid,text);
--> statement-breakpoint
drop function access.hash_parameters_of(uuid,text);
--> statement-breakpoint
-- The hash parameters and salt of a user's password. An unknown identifier, or a user without a password, gets
-- parameters that look like the others', of the given cost; their salt is derived from the identifier, because a salt
-- that changes would give that away.
create or replace function access.hash_parameters_of(subject uuid, identifier text, cost text default 'r=6,i=100000') returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(
    regexp_replace(access.current_password(subject), '[$][^$]*$', ''),
    '$pbkdf2-sha256-chain$' || cost || '$'
      || rtrim(encode(substr(access.mac('salt:' || identifier), 1, 16), 'base64'), '=')
  )
$$;
--> statement-breakpoint
-- First half: {state, attempt, hash_parameters} or {state: busy}, the same for an unknown identifier. `cost` is the
-- one of new passwords, as hash parameters name it; an unknown identifier gets parameters of that cost.
create or replace function access.begin_login(tenant_id uuid, identifier text, cost text default 'r=6,i=100000') returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t freehold.tenant := access.check_tenant(tenant_id);
  u freehold.users;
begin
  if (cost ~ '^r=[0-9]{1,2},i=[0-9]{1,6}$') is not true then
    raise exception 'This is no cost of a hash.' using errcode = 'invalid_parameter_value';
  end if;
  identifier := left(identifier, 255);
  if strpos(identifier, '@') > 0 then
    select * into u from freehold.users x where x.email = identifier;
  else
    select * into u from freehold.users x where x.username = identifier;
  end if;
  return access.begin_attempt(
    t,
    case
      when u.id is null then 'unknown:' || encode(access.mac('guard:' || identifier), 'hex')
      else 'login:' || u.id
    end,
    u.id,
    identifier,
    access.hash_parameters_of(u.id, identifier, cost)
  );
end $$;
--> statement-breakpoint
revoke execute
  on function access.begin_login(uuid,text,text),
    access.hash_parameters_of(uuid,text,text)
  from public;
--> statement-breakpoint
grant execute
  on function access.begin_login(uuid,text,text)
  to freehold_app;
