-- Names of roles that look the same.
--
-- Threat: a role `ADMIN`, or one of Cyrillic letters, beside `admin`: somebody gives, or asks for, the wrong one. So a new
-- name must look different from that of every other role. What there was before keeps its name, which is why this is no
-- unique index; names that are equal meet the one that there is (roles_name).

-- How a name looks: in lower case, and in Latin letters where others look like them. Two names with the same look are
-- one name to whoever reads them.
create function access.look_of(name text) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
  select translate(
    regexp_replace(lower(normalize(name, NFKC)), '\s+', ' ', 'g'),
    'АВЕКМНОРСТУХІЈЅавекмнорстухіјѕһԁԛԝӏѵүαβεζηικμνορτυχωγıɡɑɪᴀ‐‑‒–—―−˗',
    'abekmhopctyxijsabekmhopctyxijshdqwlvyabeznikmvoptyxwyigaia--------')
$$;

create function access.before_role_name() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  other text;
begin
  if tg_op = 'UPDATE' and new.name = old.name then
    return new;
  end if;
  -- One at a time: of two that look the same each would be allowed by itself.
  perform pg_advisory_xact_lock(hashtext('freehold.roles.name'));
  select r.name
  into other
  from freehold.roles r
  where access.look_of(r.name) = access.look_of(new.name)
    and r.name <> new.name
    and r.id <> new.id
    and r.deleted_at is null
  limit 1;
  if other is not null then
    perform access.refuse('already_exists', format('looks the same as the name of the role %s', other), 'name');
  end if;
  return new;
end $$;

create trigger before_role_name before insert or update of name on freehold.roles
  for each row execute function access.before_role_name();
