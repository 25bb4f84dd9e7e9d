-- Audiences: the APIs that take a tenant's access tokens. A token that is for one of them (RFC 8707) has its identifier
-- as `aud` and is worth nothing elsewhere, at Freehold neither.
--
-- Threat: an API that is given a token uses it somewhere else, as its user. So each has its own `aud`, and none has one
-- that Freehold takes as its own (src/audiences/audiences.ts); and what its tokens tell it of a user is the tenant's to
-- choose. Whoever may register one registers them without end: so a tenant has at most 100.

create function access.before_audience() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'INSERT' then
    -- One at a time, so that one transaction gets the last place.
    perform pg_advisory_xact_lock(hashtext('access.audiences'));
    if (select count(*) from freehold.audiences) >= 100 then
      perform access.refuse('limit_reached', 'A tenant can have at most 100 audiences: remove one first.');
    end if;
  end if;
  new.updated_at := now();
  new.token_permission_list := array(select distinct p from unnest(new.token_permission_list) p order by 1);
  return new;
end $$;

create trigger before_audience before insert or update on freehold.audiences
  for each row execute function access.before_audience();

call access.audited('freehold.audiences', 'audience');

-- They are nobody's, and written at scope `all` alone. Whoever asks for a token names one, so that none is a secret.
call access.protect('freehold.audiences', 'audience',
  is_public => true,
  inserts => '{id,identifier,name,token_permissions,token_permission_list}',
  updates => '{name,token_permissions,token_permission_list}');

-- The permissions that a token for an API carries (null: for the tenant itself) as access.token_permissions makes them.
create function access.audience_permissions(
  subject uuid,
  t freehold.tenant,
  audience text,
  out permissions text[],
  out truncated boolean
)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  a freehold.audiences;
begin
  if audience is not null then
    select * into a from freehold.audiences x where x.identifier = audience;
  end if;
  select p.permissions, p.truncated into permissions, truncated
  from access.token_permissions(
    subject,
    case when audience is null then t.token_permissions else coalesce(a.token_permissions, 'none') end,
    case when audience is null then t.token_permission_list else a.token_permission_list end
  ) p;
end $$;

-- Whether access tokens can be for an API; null: the tenant itself, for which they always can.
create function access.is_audience(audience text) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select audience is null or exists (select from freehold.audiences a where a.identifier = audience)
$$;
