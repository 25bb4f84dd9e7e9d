-- Backup codes: each lets its user in once in place of another second factor.
--   access.keep_backup_codes   puts new ones in place of the former
--   access.take_backup_code    uses one up
--
-- Threat: whoever reads the database uses one. So it keeps MACs under its own key, of codes that nobody can try out.
-- Nobody but definer functions calls these.

-- Puts these backup codes in place of the former ones.
create function access.keep_backup_codes(subject uuid, codes jsonb) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  delete from freehold.backup_codes b where b.user_id = subject;
  insert into freehold.backup_codes (code_mac, user_id)
  select access.backup_mac(subject, c.code), subject from jsonb_array_elements_text(codes) c (code);
end $$;

-- What is kept of a backup code.
create function access.backup_mac(subject uuid, code text) returns bytea
language sql stable set search_path = pg_catalog, pg_temp as $$
  select access.mac(format('backup:%s:%s', subject, code))
$$;

-- Uses a backup code up, by its SHA-256 (hex). Whether it was one.
create function access.take_backup_code(subject uuid, code text) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  update freehold.backup_codes b set used_at = now()
  where b.code_mac = access.backup_mac(subject, code) and b.user_id = subject and b.used_at is null;
  if found then
    perform access.record(
      'BACKUP_CODE_USED', 'update', 'user', subject::text, null,
      jsonb_build_object('left', (
        select count(*) from freehold.backup_codes b where b.user_id = subject and b.used_at is null)),
      20
    );
    return true;
  end if;
  return false;
end $$;
