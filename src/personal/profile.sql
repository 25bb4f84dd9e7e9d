-- What users change of themselves, whatever their roles let them.
--   access.update_me   changes the admitted user's own profile
--
-- Threat: somebody changes more of themselves than a profile, or somebody else; or an API key changes its owner. So the
-- columns are written out here, whose row it is comes from the claims, and a key changes nothing.

-- Changes the profile columns that `patch` has; null empties one. Preferences are merged. Raises FH403, FH400.
create function access.update_me(patch jsonb) returns uuid
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  changed uuid;
begin
  if access.principal() is null or access.key() is not null then
    perform access.refuse('forbidden', 'You change yourself with a session, not with an API key.');
  end if;
  perform access.must_be_licensed();
  update freehold.users u
  set given_name = case when patch ? 'given_name' then patch ->> 'given_name' else u.given_name end,
    family_name = case when patch ? 'family_name' then patch ->> 'family_name' else u.family_name end,
    phone = case when patch ? 'phone' then patch ->> 'phone' else u.phone end,
    description = case when patch ? 'description' then patch ->> 'description' else u.description end,
    locale = case when patch ? 'locale' then coalesce(patch ->> 'locale', 'en') else u.locale end,
    timezone = case when patch ? 'timezone' then coalesce(patch ->> 'timezone', 'UTC') else u.timezone end,
    preferences = case
      when not patch ? 'preferences' then u.preferences
      when patch -> 'preferences' = 'null' then '{}'
      else access.merged(u.preferences, patch -> 'preferences')
    end
  where u.id = access.principal()
  returning u.id into changed;
  return changed;
end $$;

grant execute on function
  access.update_me(jsonb)
to freehold_app;
